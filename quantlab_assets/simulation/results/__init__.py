"""From fills to what is reported: trades, curves, metrics, ambiguity, diagnostics.

No fill is decided here: that is `walk`.
"""
