"""Candles laid out for the walk: sound, in order, one at a moment."""
