"""What passes from step to step of a walk, as arrays: entries, positions, fills.

Not here: how any of it is found (`kernel`), or what it is worth (`money`).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from quantlab_assets.simulation.compiled.arrays import Codes, Flags, Floats, Integers, frozen


@dataclass(frozen=True)
class Entries:
    """The outcome of looking for an entry, one item an alert.

    `row` is the entry candle or a negative code of `kernel`; `price` the raw fill price.
    """

    order_ts: Integers
    row: Integers
    price: Floats


class Positions(NamedTuple):
    """Positions to walk through the candles: one item each, and not more than one an alert."""

    alert: Integers
    entry: Integers
    last: Integers
    price: Floats

    def take(self, chosen: Flags | Integers) -> "Positions":
        """Return some of the positions, in the order chosen."""
        return Positions._make(frozen(array[chosen]) for array in self)


class Fills(NamedTuple):
    """What happened to positions: one item each, legs by column, unused legs zero.

    `exit` is the exit candle's row, `reason` a code of `kernel`, `peak` and `trough` the highest
    high (the entry price included, a limit entry candle's high not) and the lowest low of the
    candles held.
    """

    exit: Integers
    reason: Codes
    legs: Integers
    ambiguous: Codes
    peak: Floats
    trough: Floats
    leg_ts: Integers
    leg_price: Floats
    leg_fraction: Floats

    @classmethod
    def empty(cls, positions: int, targets: int) -> "Fills":
        """Return room for the fills of positions, at most `targets` rungs and one last leg each.

        The room is not cleared: loops write every place.
        """
        legs = (positions, targets + 1)
        return cls(
            exit=np.empty(positions, dtype=np.int64),
            reason=np.empty(positions, dtype=np.int8),
            legs=np.empty(positions, dtype=np.int64),
            ambiguous=np.empty(positions, dtype=np.int8),
            peak=np.empty(positions),
            trough=np.empty(positions),
            leg_ts=np.empty(legs, dtype=np.int64),
            leg_price=np.empty(legs),
            leg_fraction=np.empty(legs),
        )

    def take(self, chosen: Flags | Integers) -> "Fills":
        """Return the fills of some positions, in the order chosen."""
        return Fills._make(array[chosen] for array in self)
