"""The strategy: what to buy, when to leave, what it costs, how much to stake.

A strategy is a frozen, strict record. Its canonical JSON (RFC 8785, options that are off left out)
is its identity: two spellings of one strategy have the same text. Percentages are fractions (0.3 is
30 %), fees and slippage are basis points, times are whole seconds. What each field does to a trade
is told in docs/simulation.md.
"""

import math
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from quantlab_assets.domain.errors import ValidationFailed

__all__ = ["Costs", "Entry", "Exit", "Sizing", "Strategy", "TakeProfit", "Trailing"]

EXIT_REASONS = ("stop_loss", "breakeven", "trailing", "take_profit", "max_hold", "end_of_data")
"""Why a part of a position is sold."""

FRACTION_TOLERANCE = 1e-12
"""A remainder of a position up to this is none; fractions may overshoot 1 by as much."""

MAX_SECONDS = 10**9
"""Longest delay, wait or hold (some 31 years), so that sums of microseconds stay in 64 bits."""

Seconds = Annotated[int, Field(ge=0, le=MAX_SECONDS)]
PositiveSeconds = Annotated[int, Field(gt=0, le=MAX_SECONDS)]
Share = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Gain = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
Money = Annotated[float, Field(gt=0, le=1e15, allow_inf_nan=False)]
BasisPoints = Annotated[float, Field(ge=0, lt=10_000, allow_inf_nan=False)]


class _Record(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Entry(_Record):
    """How a position is opened after the order time (known time of the alert plus `delay_s`)."""

    mode: Literal["next_open", "limit_dip"] = "next_open"
    delay_s: Seconds = 0
    dip_pct: Share | None = None
    max_wait_s: Seconds = 3600

    @model_validator(mode="after")
    def _dip_goes_with_limit_dip(self) -> Self:
        if self.mode == "limit_dip" and self.dip_pct is None:
            raise ValueError("dip_pct is required for mode limit_dip")
        if self.mode == "next_open" and self.dip_pct is not None:
            raise ValueError("dip_pct has no meaning for mode next_open; leave it out")
        return self


class TakeProfit(_Record):
    """One rung of the ladder: sell `fraction` of the position at a gain of `gain_pct`."""

    gain_pct: Gain
    fraction: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]


class Trailing(_Record):
    """A stop `distance_pct` under the peak, alive once the peak has gained `activation_pct`."""

    activation_pct: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
    distance_pct: Share


class Exit(_Record):
    """When a position is closed. All is off unless given; what nothing closes runs to the end."""

    stop_loss_pct: Share | None = None
    take_profits: tuple[TakeProfit, ...] = ()
    trailing: Trailing | None = None
    breakeven_after_pct: Gain | None = None
    max_hold_s: PositiveSeconds | None = None
    intrabar: Literal["stop_first", "target_first"] = "stop_first"

    @field_validator("take_profits", mode="before")
    @classmethod
    def _accept_lists(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("take_profits")
    @classmethod
    def _ladder_is_sound(cls, ladder: tuple[TakeProfit, ...]) -> tuple[TakeProfit, ...]:
        for rung, (lower, upper) in enumerate(pairwise(ladder), start=1):
            if upper.gain_pct <= lower.gain_pct:
                raise ValueError(
                    f"gain_pct must be strictly increasing: take_profits.{rung}.gain_pct is "
                    f"{upper.gain_pct}, the one before it {lower.gain_pct}"
                )
        total = math.fsum(target.fraction for target in ladder)
        if total > 1 + FRACTION_TOLERANCE:
            raise ValueError(f"fraction must sum to at most 1 over all take_profits, not {total}")
        return ladder


class Costs(_Record):
    """What trading costs: `fee_bps` on each side's value, `slippage_bps` on each side's price."""

    fee_bps: BasisPoints = 30.0
    slippage_bps: BasisPoints = 50.0


class Sizing(_Record):
    """How much is staked: the same `stake` each trade, at most `max_open_positions` at a time."""

    stake: Money = 1.0
    initial_capital: Money = 100.0
    max_open_positions: Annotated[int, Field(gt=0, le=2**31)] | None = None


class Strategy(_Record):
    """A complete trading rule. `seed` serves baselines and intervals; the engine draws nothing."""

    entry: Entry = Entry()
    exit: Exit = Exit()
    costs: Costs = Costs()
    sizing: Sizing = Sizing()
    seed: Annotated[int, Field(ge=0, lt=2**53)] | None = None

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read a strategy from JSON text.

        Raises `ValidationFailed` naming each field that is wrong, in one line.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise ValidationFailed(f"strategy: {_explain(error)}") from None

    def canonical_json(self) -> str:
        """RFC 8785 text of this strategy: defaults spelled out, options that are off left out."""
        return rfc8785.dumps(self.model_dump(mode="json", exclude_none=True)).decode()


def _explain(error: ValidationError) -> str:
    faults = []
    for fault in error.errors(include_url=False, include_context=False):
        field = ".".join(str(part) for part in fault["loc"])
        message = fault["msg"].removeprefix("Value error, ")
        faults.append(f"{field}: {message}" if field else message)
    return "; ".join(faults)
