"""Candles as plain arrays: the form in which compiled loops take them.

Not here: which of them count, and how those of a token come to lie together (`candle_book`).
"""

from typing import NamedTuple

from quantlab_assets.simulation.compiled.arrays import Floats, Integers


class Candles(NamedTuple):
    """One item a candle in each array: opening in microseconds UTC, seconds, raw prices."""

    ts: Integers
    interval_s: Integers
    open: Floats
    high: Floats
    low: Floats
    close: Floats
