"""Slices: which windows calls need, what a slice is called, how complete it is.

Cutting them out of a candle source and publishing them is `handlers.slices`.
"""
