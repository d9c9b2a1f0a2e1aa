"""`quantlab coverage`: how much of the time around each call the candles cover."""
