"""What fills cost and bring, in the formulas of docs/simulation.md, evaluated left to right.

Sums run over legs in the order they were filled. All amounts are in the currency of the stake.
"""

from typing import NamedTuple

import numpy as np

from quantlab_assets.domain.experiments.strategy import Strategy
from quantlab_assets.simulation.compiled.arrays import Floats
from quantlab_assets.simulation.walk.positions import Fills

BASIS_POINTS = 10_000


class Rates(NamedTuple):
    """Costs and stake of a strategy: `fee` and `slip` as fractions."""

    fee: float
    slip: float
    stake: float
    initial_capital: float

    @classmethod
    def of(cls, strategy: Strategy) -> "Rates":
        """Read the rates of a strategy."""
        return cls(
            fee=strategy.costs.fee_bps / BASIS_POINTS,
            slip=strategy.costs.slippage_bps / BASIS_POINTS,
            stake=float(strategy.sizing.stake),
            initial_capital=float(strategy.sizing.initial_capital),
        )


class Money(NamedTuple):
    """Amounts of trades: one item each; `leg_proceeds` by column, unused legs zero.

    `gross_pnl - slippage_cost - fees = net_pnl` up to rounding, by the definition of
    `slippage_cost`.
    """

    units: Floats
    leg_proceeds: Floats
    exit_price: Floats
    gross_pnl: Floats
    net_pnl: Floats
    fees: Floats
    slippage_cost: Floats


def settle(price: Floats, fills: Fills, rates: Rates) -> Money:
    """Turn fills of positions entered at raw `price` into amounts."""
    entry_exec = price * (1 + rates.slip)
    units = rates.stake / entry_exec
    leg_proceeds = units[:, None] * fills.leg_fraction * fills.leg_price * (1 - rates.slip)
    proceeds = np.zeros(len(price))
    exit_price = np.zeros(len(price))
    for leg in range(fills.leg_price.shape[1]):
        # Unused legs add zero, which changes no bit of a positive sum.
        proceeds = proceeds + leg_proceeds[:, leg]
        exit_price = exit_price + fills.leg_fraction[:, leg] * fills.leg_price[:, leg]
    fees = rates.fee * rates.stake + rates.fee * proceeds
    net_pnl = proceeds - rates.stake - fees
    gross_pnl = rates.stake * (exit_price / price - 1)
    return Money(
        units, leg_proceeds, exit_price, gross_pnl, net_pnl, fees, gross_pnl - net_pnl - fees
    )
