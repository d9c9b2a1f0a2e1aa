"""Measure coverage, and read what was measured."""
