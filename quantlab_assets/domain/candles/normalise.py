"""Candle rules: from the raw rows of one file to valid candles, refused rows and counts.

Everything a backtest may see went through `normalise`; what it may not see keeps its raw text and a
code. The rules are those of docs/candles.md. Prices are floats as the file has them, times UTC
microseconds at candle open, volumes null where the file knows none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from quantlab_assets.domain.artifacts.seed_types import CANDLES_QUARANTINE
from quantlab_assets.domain.artifacts.type import INTERVALS
from quantlab_assets.domain.candles import intervals as candle_intervals
from quantlab_assets.domain.time_us import SECOND_US

RULES_VERSION: Final = 2
"""Changes whenever the same file would give other candles; disposable indexes are keyed by it."""

UTC_US: Final = pl.Datetime("us", "UTC")

TOKEN_COLUMNS: Final = ("chain", "token_address", "token_chain")
PRICE_COLUMNS: Final = ("open", "high", "low", "close")
RAW_COLUMNS: Final = (
    "row_number",
    "raw_values",
    *TOKEN_COLUMNS,
    "interval_s",
    "time",
    *PRICE_COLUMNS,
    "volume",
)
"""What an adapter hands over, a row for each row of the file. `row_number` counts the file's lines
or rows from 1; the token columns are null where it cannot be told; `interval_s` is null unless the
file says it; `time`, prices and volume may be text, numbers or times."""

FILE: Final = "file"
"""The column that numbers the files of rows that are normalised together."""

CANDLE_COLUMNS: Final = (
    *TOKEN_COLUMNS,
    "interval_s",
    "ts",
    *PRICE_COLUMNS,
    "volume",
    "row_number",
    "duplicates",
    "conflicts",
)
"""Normalised candles: a slice's columns, the row each comes from, how many rows it stands for."""

REASONS: Final = {
    "unparsable_row": "the row does not have a number in every price and volume field",
    "unresolvable_token": "the row's token address is no Solana mint and no EVM address",
    "bad_timestamp": "the time is missing, unreadable or outside 2009 to 2099",
    "non_finite_price": "a price is NaN or infinite",
    "non_positive_price": "a price is zero or negative",
    "high_below_body": "high is below the larger of open and close",
    "low_above_body": "low is above the smaller of open and close",
    "bad_volume": "volume is negative or infinite",
    "misaligned_time": "the time is off the grid of the candles around it",
    "unsupported_interval": f"the candles' interval is none of {', '.join(INTERVALS)}",
    "unknown_interval": "no two candles are one interval apart, so the interval cannot be told",
}
"""Why a row is refused, by code, in the order the rules are tried: the first broken one counts."""

_NO_VOLUME: Final = ("", "nan", "null", "none", "na", "n/a", "-")
FIRST_US: Final = 1_230_768_000_000_000  # 2009-01-01
TIMES_END_US: Final = 4_102_444_800_000_000  # 2100-01-01
_ISO: Final = (
    r"^(?<date>\d{4}[-/]\d{2}[-/]\d{2})"
    r"(?:[T ](?<clock>\d{2}:\d{2}(?::\d{2})?)(?:[.,](?<fraction>\d{1,9}))?)?"
    r"\s*(?<zone>Z|z|UTC|[+-]\d{2}:?\d{2})?$"
)


@dataclass(frozen=True, slots=True)
class CandleCounts:
    """What became of rows: `rows = candles + duplicates + conflicts + rejected`.

    `duplicates` repeated a candle exactly; `conflicts` lost against another candle of their time.
    """

    rows: int = 0
    candles: int = 0
    duplicates: int = 0
    conflicts: int = 0
    rejected: int = 0


@dataclass(frozen=True, slots=True)
class NormalisedCandles:
    """Candles (`CANDLE_COLUMNS`, one a time), refused rows (type `candles_quarantine`), counts."""

    candles: pl.DataFrame
    rejected: pl.DataFrame
    counts: CandleCounts


def normalise(raw: pl.DataFrame) -> NormalisedCandles:
    """Apply every rule to the rows of one file (`RAW_COLUMNS`). Row order does not matter."""
    (found,) = normalise_files(raw.with_columns(pl.lit(0, dtype=pl.Int64).alias(FILE)), 1)
    return found


def normalise_files(raw: pl.DataFrame, files: int) -> list[NormalisedCandles]:
    """Apply every rule to the rows of many files at once, each file as if it were alone.

    `raw` has the `RAW_COLUMNS` and `file`, the number of the row's file from 0 up to `files`.
    """
    parsed = raw.select(
        FILE,
        "row_number",
        "raw_values",
        *TOKEN_COLUMNS,
        pl.col("interval_s").cast(pl.Int64),
        _time_us(raw.schema["time"]).alias("ts_us"),
        *(_number(raw.schema, column).alias(column) for column in PRICE_COLUMNS),
        _number(raw.schema, "volume").alias("volume"),
        _volume_readable(raw.schema).alias("volume_readable"),
    )
    checked = _with_intervals(parsed).with_columns(_first_failed_rule().alias("error_code"))
    rejected = _refused(checked.filter(pl.col("error_code").is_not_null()))
    valid = checked.filter(pl.col("error_code").is_null()).select(
        FILE,
        *TOKEN_COLUMNS,
        "interval_s",
        pl.col("ts_us").cast(UTC_US).alias("ts"),
        *PRICE_COLUMNS,
        pl.col("volume").fill_nan(None),
        "row_number",
    )
    candles = one_candle_a_time(valid)
    rows = np.bincount(raw[FILE].to_numpy(), minlength=files)
    kept = zip(_by_file(candles, files), _by_file(rejected, files), strict=True)
    return [
        NormalisedCandles(
            good,
            bad,
            CandleCounts(
                rows=int(rows[number]),
                candles=good.height,
                duplicates=int(good["duplicates"].sum()),
                conflicts=int(good["conflicts"].sum()),
                rejected=bad.height,
            ),
        )
        for number, (good, bad) in enumerate(kept)
    ]


def _by_file(rows: pl.DataFrame, files: int) -> list[pl.DataFrame]:
    """Rows that are sorted by file, cut by file."""
    edges = np.searchsorted(rows[FILE].to_numpy(), np.arange(files + 1))
    rest = rows.drop(FILE)
    return [rest.slice(edges[n], edges[n + 1] - edges[n]) for n in range(files)]


def one_candle_a_time(candles: pl.DataFrame) -> pl.DataFrame:
    """Keep one candle for each (token, interval, ts): exact duplicates collapse; of conflicting
    ones the largest volume wins (null is the smallest), then the last row.

    Frames of several files carry a `source` column (the file's hash): rows of different files that
    still tie are ordered by it, never by file name or reading order. Returns the candles sorted by
    token, interval and time; `duplicates` and `conflicts` say how many rows each stands for besides
    itself, added to what the rows already stood for.
    """
    at = [*_series(candles), "ts"]
    origin = [*(["source"] if "source" in candles.columns else []), "row_number"]
    if "duplicates" not in candles.columns:
        candles = candles.with_columns(
            pl.lit(0, dtype=pl.Int64).alias("duplicates"),
            pl.lit(0, dtype=pl.Int64).alias("conflicts"),
        )
    if _is_one_a_time(candles):
        return candles
    ordered = candles.sort([*at, "volume", *origin], nulls_last=False)
    shared = pl.struct(at).is_duplicated()
    contended = ordered.filter(shared)
    if contended.is_empty():
        return ordered
    distinct = pl.struct(*PRICE_COLUMNS, "volume").n_unique().cast(pl.Int64)
    settled = contended.group_by(at, maintain_order=True).agg(
        pl.exclude("duplicates", "conflicts").last(),
        (pl.col("duplicates").sum() + pl.len().cast(pl.Int64) - distinct).alias("duplicates"),
        (pl.col("conflicts").sum() + distinct - 1).alias("conflicts"),
    )
    alone = ordered.filter(~shared)
    return pl.concat([alone, settled.select(alone.columns)]).sort(at, nulls_last=False)


def _series(candles: pl.DataFrame) -> list[str]:
    """What tells one series of candles from another; files of one frame do not mix."""
    return [*([FILE] if FILE in candles.columns else []), *TOKEN_COLUMNS, "interval_s"]


def _is_one_a_time(candles: pl.DataFrame) -> bool:
    """Whether candles are in order already, each alone at its time: then a sort is for nothing."""
    series = _series(candles)
    begins = _differs_from_the_row_before(series)
    steps = candles.select(
        begins.alias("begins"), (pl.col("ts") > pl.col("ts").shift()).alias("on")
    )
    if not steps.select((pl.col("begins") | pl.col("on")).all()).item():
        return False
    firsts = candles.filter(steps["begins"]).select(series)
    # Each differs from the one before, so in order none comes twice.
    return firsts.equals(firsts.sort(series, nulls_last=False))


def reject_file(code: str, reason: str, *, name: str, rows: int = 0) -> pl.DataFrame:
    """The one quarantine row of a file refused as a whole; its row number is 0."""
    return pl.DataFrame(
        {
            "row_number": [0],
            "raw_values": [f"{name} ({rows} rows)"],
            "error_code": [code],
            "error_reason": [reason],
        },
        schema=QUARANTINE_SCHEMA,
    )


QUARANTINE_SCHEMA: Final = {
    name: pl.Int64() if name == "row_number" else pl.String()
    for name in CANDLES_QUARANTINE.schema.names
}


def _refused(rows: pl.DataFrame) -> pl.DataFrame:
    """Refused rows as the quarantine keeps them; a struct of raw values becomes JSON of texts."""
    raw = rows.get_column("raw_values")
    if isinstance(raw.dtype, pl.Struct):
        raw = raw.struct.unnest().select(
            pl.struct(pl.all().cast(pl.String, strict=False))
            .struct.json_encode()
            .alias("raw_values")
        )["raw_values"]
    return rows.select(
        FILE,
        pl.col("row_number").cast(pl.Int64),
        raw,
        "error_code",
        pl.col("error_code").replace_strict(REASONS, return_dtype=pl.String).alias("error_reason"),
    ).sort(FILE, "row_number", "error_code", "raw_values")


def _number(schema: pl.Schema, column: str) -> pl.Expr:
    """A field as float, null where it is no number. Text is rounded as Python's `float` does."""
    value = pl.col(column)
    if schema[column] == pl.String:
        value = value.str.strip_chars()
    return value.cast(pl.Float64, strict=False)


def _volume_readable(schema: pl.Schema) -> pl.Expr:
    """Whether the volume is a number, or says that there is none."""
    if schema["volume"] != pl.String:
        return pl.lit(True)
    text = pl.col("volume").str.strip_chars()
    return (
        text.is_null()
        | text.str.to_lowercase().is_in(_NO_VOLUME)
        | text.cast(pl.Float64, strict=False).is_not_null()
    )


def _time_us(dtype: pl.DataType) -> pl.Expr:
    """The row's time as UTC microseconds, null where unreadable or out of range.

    Numbers are seconds, milliseconds, microseconds or nanoseconds since 1970 by their size; ISO
    text and naive times are UTC unless they carry an offset.
    """
    time = pl.col("time")
    if isinstance(dtype, pl.Datetime):
        if dtype.time_zone is None:
            time = time.dt.replace_time_zone("UTC")
        us = time.dt.convert_time_zone("UTC").dt.cast_time_unit("us").cast(pl.Int64)
    elif dtype == pl.Date:
        us = time.cast(pl.Datetime("us")).cast(pl.Int64)
    elif dtype == pl.String:
        text = time.str.strip_chars()
        us = pl.coalesce(
            _epoch_us(text.cast(pl.Int64, strict=False)),
            _epoch_us(text.cast(pl.Float64, strict=False)),
            _iso_us(text),
        )
    elif dtype.is_integer():
        us = _epoch_us(time.cast(pl.Int64, strict=False))
    elif dtype.is_numeric():
        us = _epoch_us(time.cast(pl.Float64, strict=False))
    else:
        us = pl.lit(None, dtype=pl.Int64)
    return pl.when(us.is_between(FIRST_US, TIMES_END_US, closed="left")).then(us)


def _epoch_us(number: pl.Expr) -> pl.Expr:
    """Seconds, milliseconds, microseconds or nanoseconds since 1970 as microseconds."""
    return (
        pl.when(number.abs() < 10**11)
        .then(number * SECOND_US)
        .when(number.abs() < 10**14)
        .then(number * 1_000)
        .when(number.abs() < 10**17)
        .then(number)
        .otherwise(number / 1_000)
        .round()
        .cast(pl.Int64, strict=False)
    )


def _iso_us(text: pl.Expr) -> pl.Expr:
    """ISO 8601 text as UTC microseconds; no offset means UTC."""
    parts = text.str.extract_groups(_ISO).struct
    clock = parts.field("clock").fill_null("00:00")
    clock = pl.when(clock.str.len_chars() == 5).then(clock + ":00").otherwise(clock)
    local = (
        (parts.field("date").str.replace_all("/", "-") + " " + clock)
        .str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False)
        .cast(pl.Int64)
    )
    fraction = (
        parts.field("fraction").fill_null("0").str.pad_end(6, "0").str.slice(0, 6).cast(pl.Int64)
    )
    zone = parts.field("zone").fill_null("Z")
    digits = zone.str.replace(":", "").str.slice(1)
    minutes = digits.str.slice(0, 2).cast(pl.Int64, strict=False) * 60 + digits.str.slice(
        2, 2
    ).cast(pl.Int64, strict=False)
    sign = pl.when(zone.str.starts_with("-")).then(-1).otherwise(1)
    offset = pl.when(zone.str.contains(r"^[+-]")).then(sign * minutes * 60_000_000).otherwise(0)
    return local + fraction - offset


def _first_failed_rule() -> pl.Expr:
    """The code of the first rule a row breaks; null for a valid candle."""
    prices = [pl.col(column) for column in PRICE_COLUMNS]
    open_, high, low, close = prices
    interval = pl.col("interval_s")
    supported = interval.is_in(sorted(INTERVALS.values()))
    broken = {
        "unparsable_row": pl.any_horizontal(p.is_null() for p in prices)
        | ~pl.col("volume_readable"),
        "unresolvable_token": pl.col("chain").is_null() | pl.col("token_address").is_null(),
        "bad_timestamp": pl.col("ts_us").is_null(),
        "non_finite_price": ~pl.all_horizontal(p.is_finite() for p in prices),
        "non_positive_price": pl.any_horizontal(p <= 0 for p in prices),
        "high_below_body": high < pl.max_horizontal(open_, close),
        "low_above_body": low > pl.min_horizontal(open_, close),
        "bad_volume": pl.col("volume").is_infinite() | (pl.col("volume") < 0),
        "misaligned_time": (interval == candle_intervals.MISALIGNED)
        | (supported & (pl.col("ts_us") % (interval * SECOND_US) != 0)),
        "unsupported_interval": (interval == candle_intervals.UNSUPPORTED)
        | ((interval > 0) & ~supported),
        "unknown_interval": interval.is_null() | (interval == candle_intervals.UNKNOWN),
    }
    return pl.coalesce(
        pl.when(broken[code].fill_null(False)).then(pl.lit(code)) for code in REASONS
    )


def _with_intervals(rows: pl.DataFrame) -> pl.DataFrame:
    """Fill in the interval of rows whose file does not say it, token by token of each file.

    Rows that break a price rule still count here: their times are evidence of the grid.
    """
    unsaid = rows.select(
        pl.col("interval_s").is_null()
        & pl.col("ts_us").is_not_null()
        & pl.col("token_address").is_not_null()
    ).to_series()
    if not unsaid.any():
        return rows
    asking = rows.filter(unsaid)
    tokens, times = _token_numbers(asking), asking["ts_us"].to_numpy()
    order = np.lexsort((times, tokens))
    tokens, times = tokens[order], times[order]
    first = np.append(True, (np.diff(tokens) != 0) | (np.diff(times) != 0))
    cuts = np.flatnonzero(np.diff(tokens[first])) + 1
    interval_s = [candle_intervals.assign_intervals(ts) for ts in np.split(times[first], cuts)]
    of_rows = np.empty(len(order), dtype=np.int64)
    of_rows[order] = np.concatenate(interval_s)[np.cumsum(first) - 1]
    intervals = np.zeros(rows.height, dtype=np.int64)
    intervals[unsaid.to_numpy()] = of_rows
    return rows.with_columns(
        pl.when(unsaid).then(pl.Series(intervals)).otherwise("interval_s").alias("interval_s")
    )


def _token_numbers(rows: pl.DataFrame) -> npt.NDArray[np.int64]:
    """A number for each token of each file."""
    token = [FILE, *TOKEN_COLUMNS]
    begins = rows.select(_differs_from_the_row_before(token)).to_series()
    firsts = rows.filter(begins).select(token)
    numbers = firsts.unique(maintain_order=True).with_row_index("number")
    numbered = firsts.join(numbers, on=token, how="left", nulls_equal=True, maintain_order="left")
    of_runs: npt.NDArray[np.int64] = numbered["number"].cast(pl.Int64).to_numpy()
    of_rows: npt.NDArray[np.int64] = of_runs[np.cumsum(begins.to_numpy()) - 1]
    return of_rows


def _differs_from_the_row_before(columns: Sequence[str]) -> pl.Expr:
    """True for the first row too."""
    return pl.any_horizontal(pl.col(c).ne_missing(pl.col(c).shift()) for c in columns) | (
        pl.int_range(pl.len()) == 0
    )
