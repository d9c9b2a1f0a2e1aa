"""Measure coverage, and read what was measured.

The measure itself is `domain.coverage`; how it is drawn is the shell's and the graph's.
"""
