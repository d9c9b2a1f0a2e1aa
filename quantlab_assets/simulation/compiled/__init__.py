"""How loops over arrays are compiled and shared out, and sums that have one value everywhere.

Nothing here knows what a candle or a trade is.
"""
