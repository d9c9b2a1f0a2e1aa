"""Candles: from the raw rows of any file or table to valid ones, by one set of rules."""
