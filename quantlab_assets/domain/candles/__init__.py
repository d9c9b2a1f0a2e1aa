"""Candles: from the raw rows of any file or table to valid ones, by one set of rules.

What a column is called in somebody's file is for the source that reads it, in `adapters`.
"""
