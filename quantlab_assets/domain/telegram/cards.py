"""Bot cards: the token a bot's reply names, its network, and figures with the time they speak of.

Cards are refreshed long after they were posted, so their figures leak the future: they are kept
with `card_asof_ts_utc` and `card_leaks`, and no simulation reads them. See docs/alerts.md.
"""

from decimal import Decimal, InvalidOperation
from typing import Final

import polars as pl

from quantlab_assets.domain.telegram.rules import Rules
from quantlab_assets.domain.tokens.network_names import network_in

_UNITS: Final = {"K": 3, "M": 6, "B": 9, "T": 12}
_SUBSCRIPTS: Final = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")

_CLOCK_ONLY: Final = r"Updated at (\d{1,2}):(\d{2}) ([AP]M) UTC"
_CLOCK_MONTH_DAY: Final = r"(\d{1,2}):(\d{2}) ([AP]M) · (\d{1,2})/(\d{1,2}) UTC"
_CLOCK_DAY_MONTH: Final = r"Updated (\d{1,2}):(\d{2}) @ (\d{1,2})-(\d{1,2}) UTC"


def money(text: str) -> float | None:
    """The amount a bot prints: `2.51M` is 2,510,000; `0.0₅12` is 0.0000012. None if it is none."""
    digits = _spread_zeros(text.rstrip("KMBT").replace(",", ""))
    try:
        return float(Decimal(digits).scaleb(_UNITS.get(text[-1:], 0)))
    except InvalidOperation:
        return None


def _spread_zeros(text: str) -> str:
    """`0.0₅12` -> `0.0000012`: the subscript counts the zeros after the point."""
    spread = ""
    for character in text:
        count = character.translate(_SUBSCRIPTS)
        spread = spread[:-1] + "0" * int(count) if character != count else spread + character
    return spread


def card_figures(cards: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """Adds what cards say besides the token: `card_network`, `card_price_usd`, `card_mcap_usd`,
    `card_asof_ts_utc`, `card_leaks`. Needs `text`, `ts_utc`, `edited_ts_utc`.

    A card speaks of the time it was last refreshed: the edit time if the export has it, else the
    time printed on it, else the time it was posted. It leaks if that is later than its posting.
    """
    text, posted = pl.col("text"), pl.col("ts_utc")
    minute = posted.dt.truncate("1m")
    stamp = pl.coalesce(_month_day(text, posted), _day_month(text, posted), _clock(text, posted))
    return cards.with_columns(
        network_in(text, rules.card_network_patterns, rules).alias("card_network"),
        _amount(cards["text"], rules.price_pattern).alias("card_price_usd"),
        _amount(cards["text"], rules.market_cap_pattern).alias("card_mcap_usd"),
        pl.coalesce("edited_ts_utc", stamp, posted).alias("card_asof_ts_utc"),
        pl.coalesce(pl.col("edited_ts_utc") > posted, stamp >= minute, pl.lit(False)).alias(
            "card_leaks"
        ),
    )


def _amount(text: pl.Series, pattern: str) -> pl.Series:
    amounts = text.str.extract(pattern, 1)
    distinct = amounts.drop_nulls().unique().sort().to_list()
    values = [money(amount) for amount in distinct]
    return amounts.replace_strict(distinct, values, default=None, return_dtype=pl.Float64)


def _clock(text: pl.Expr, posted: pl.Expr) -> pl.Expr:
    """A time of day without a date: the first such time from the minute of posting on."""
    part = [text.str.extract(_CLOCK_ONLY, i) for i in (1, 2, 3)]
    day = posted.dt.strftime("%Y-%m-%d")
    at = _at(pl.concat_str(day, pl.lit(" "), part[0].str.zfill(2), pl.lit(":"), part[1]), part[2])
    return pl.when(at < posted.dt.truncate("1m")).then(at.dt.offset_by("1d")).otherwise(at)


def _month_day(text: pl.Expr, posted: pl.Expr) -> pl.Expr:
    part = [text.str.extract(_CLOCK_MONTH_DAY, i) for i in range(1, 6)]
    return _dated(posted, month=part[3], day=part[4], hour=part[0], minute=part[1], half=part[2])


def _day_month(text: pl.Expr, posted: pl.Expr) -> pl.Expr:
    part = [text.str.extract(_CLOCK_DAY_MONTH, i) for i in range(1, 5)]
    return _dated(posted, month=part[3], day=part[2], hour=part[0], minute=part[1], half=None)


def _dated(
    posted: pl.Expr,
    *,
    month: pl.Expr,
    day: pl.Expr,
    hour: pl.Expr,
    minute: pl.Expr,
    half: pl.Expr | None,
) -> pl.Expr:
    """A stamp without a year: the year of posting, or the next if that is before the posting."""

    def in_year(year: pl.Expr) -> pl.Expr:
        date = pl.concat_str(
            [year.cast(pl.String), month.str.zfill(2), day.str.zfill(2)], separator="-"
        )
        return _at(pl.concat_str(date, pl.lit(" "), hour.str.zfill(2), pl.lit(":"), minute), half)

    this, following = in_year(posted.dt.year()), in_year(posted.dt.year() + 1)
    return pl.when(this < posted.dt.offset_by("-1d")).then(following).otherwise(this)


def _at(clock: pl.Expr, half: pl.Expr | None) -> pl.Expr:
    """`YYYY-MM-DD HH:MM` with an optional AM/PM as UTC; null if there is no such time."""
    if half is None:
        parsed = clock.str.to_datetime("%Y-%m-%d %H:%M", time_unit="us", strict=False)
    else:
        parsed = pl.concat_str(clock, pl.lit(" "), half).str.to_datetime(
            "%Y-%m-%d %I:%M %p", time_unit="us", strict=False
        )
    return parsed.dt.replace_time_zone("UTC")
