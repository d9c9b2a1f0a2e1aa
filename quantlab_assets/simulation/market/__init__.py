"""Candles laid out for the walk: sound, in order, one at a moment.

It knows candles only: what is done at them is `walk`.
"""
