"""`quantlab coverage`: how much of the time around each call the candles cover.

Measured in `handlers.coverage`; here it is asked for and drawn.
"""
