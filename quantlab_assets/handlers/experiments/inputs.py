"""Which alerts of an experiment take part, and which candles each of them trades on.

Frames in, frames out. Creating an experiment and executing it share these rules, so that what was
selected is what is simulated.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from quantlab_assets.domain.artifacts.records import Artifact
from quantlab_assets.domain.artifacts.seed_types import ALERTS, OHLCV_SLICE
from quantlab_assets.domain.errors import Conflict, ValidationFailed
from quantlab_assets.domain.experiments.records import AlertFilters
from quantlab_assets.domain.experiments.strategy import Entry
from quantlab_assets.domain.slices.key import SliceKey
from quantlab_assets.domain.time_us import SECOND_US, to_us
from quantlab_assets.domain.tokens.networks import (
    AMBIGUOUS,
    NO_CANDLES,
    TAKEN,
    network_of_token,
    networks_taken,
)

ALERT_COLUMNS: Final = (
    "alert_id",
    "alert_ts_utc",
    "known_ts_utc",
    "chain",
    "token_chain",
    "mint",
    "caller_name_norm",
)
CANDLE_COLUMNS: Final = (
    "token_address",
    "chain",
    "token_chain",
    "interval_s",
    "ts",
    "open",
    "high",
    "low",
    "close",
    "volume",
)
_SHOWN: Final = 5
_HOLDS_ALERT, _ENTRY_POSSIBLE, _OUT_OF_REACH = 0, 1, 2


def select_alerts(alerts: pl.DataFrame, filters: AlertFilters) -> pl.DataFrame:
    """The alerts that pass the filters, each alert_id once, by time and alert_id.

    Of several rows of one alert the one known earliest counts. `first_call_only` looks at what the
    other filters leave, and takes an address for one token whatever its network: calls rarely say
    it.
    """
    kept = alerts.sort(["alert_id", "known_ts_utc", *alerts.columns], nulls_last=True).unique(
        "alert_id", keep="first", maintain_order=True
    )
    if filters.start is not None:
        kept = kept.filter(pl.col("alert_ts_utc") >= filters.start)
    if filters.end is not None:
        kept = kept.filter(pl.col("alert_ts_utc") <= filters.end)
    if filters.caller_name_norm is not None:
        kept = kept.filter(pl.col("caller_name_norm") == filters.caller_name_norm)
    if filters.chain is not None:
        kept = kept.filter(pl.col("chain") == filters.chain)
    kept = kept.sort("alert_ts_utc", "alert_id")
    if filters.first_call_only:
        kept = kept.unique(["chain", "mint"], keep="first", maintain_order=True)
    return kept


@dataclass(frozen=True, slots=True)
class ResolvedInputs:
    """Alerts and candles that meet by (chain, mint) = (chain, token_address).

    An address on several networks is several tokens: its alerts and candles carry
    `network:address` there, nothing before the colon for an unknown network, and an alert that
    takes no candles an address that has none. `unresolved` are the alerts that are ambiguous,
    `mints` has alert_id and the address as it was called.
    """

    alerts: pl.DataFrame
    candles: pl.DataFrame
    mints: pl.DataFrame
    unresolved: frozenset[str]


def networks_of_calls(alerts: pl.DataFrame, windows: pl.DataFrame, entry: Entry) -> pl.DataFrame:
    """Which network's candles each alert takes, judged by the nearest slices of its address.

    Nearest are those whose window holds the alert, so that slices of other times have no say in its
    trade. Slices that were published by hand may begin later: where an alert takes none of the
    nearest, those count too in which the strategy could still enter, then all. The last ones only
    say why there is no trade: no entry is possible in them.

    `windows` is that of `slice_windows`; a slice without rows has no candle. Returns alert_id,
    chain, mint, token_chain (the network named), `network` and `outcome` of `networks_taken`, each
    alert once, in any order.
    """
    by_distance = _slices_met(alerts, windows, entry)
    calls = alerts.select("alert_id", "chain", "mint", "token_chain")
    unsettled, judged = calls, []
    for distance in (_HOLDS_ALERT, _ENTRY_POSSIBLE, _OUT_OF_REACH):
        near = by_distance.filter(pl.col("distance") <= distance)
        taken = networks_taken(unsettled, near, on=["alert_id"])
        is_last = pl.lit(distance == _OUT_OF_REACH)
        settled = is_last | (pl.col("outcome") != NO_CANDLES)
        judged.append(taken.filter(settled))
        unsettled = taken.filter(~settled).select(calls.columns)
    return pl.concat(judged)


def _slices_met(alerts: pl.DataFrame, windows: pl.DataFrame, entry: Entry) -> pl.DataFrame:
    """Each alert with the slices of its address: alert_id, chain, token_chain, `distance`."""
    latest_us = pl.col("known_us") + (entry.delay_s + entry.max_wait_s) * SECOND_US
    out_of_reach = (pl.col("end_us") <= pl.col("alert_us")) | (pl.col("start_us") > latest_us)
    return (
        alerts.lazy()
        .select(
            "alert_id",
            "chain",
            "mint",
            pl.col("alert_ts_utc").to_physical().alias("alert_us"),
            pl.col("known_ts_utc").to_physical().alias("known_us"),
        )
        .join(windows.lazy().filter(pl.col("row_count") > 0), on=["chain", "mint"])
        .select(
            "alert_id",
            "chain",
            "token_chain",
            pl.when(out_of_reach)
            .then(_OUT_OF_REACH)
            .when(pl.col("start_us") <= pl.col("alert_us"))
            .then(_HOLDS_ALERT)
            .otherwise(_ENTRY_POSSIBLE)
            .alias("distance"),
        )
        .collect()
    )


def resolve_networks(
    alerts: pl.DataFrame, candles: pl.DataFrame, windows: pl.DataFrame, entry: Entry
) -> ResolvedInputs:
    """Give each alert the candles of the network it takes (`networks_of_calls`).

    `windows` are those of the slices that the candles are of. Of an address whose candles are all
    of one network that every call takes, nothing changes.
    """
    runs = _runs(candles)
    held = runs.drop("rows").unique()
    taken = networks_of_calls(alerts, windows, entry)
    split = (
        held.group_by("chain", "mint")
        .agg((network_of_token().n_unique() > 1).alias("several"))
        .join(
            taken.group_by("chain", "mint").agg((pl.col("outcome") != TAKEN).any().alias("left")),
            on=["chain", "mint"],
        )
        .filter(pl.col("several") | pl.col("left"))
        .select("chain", "mint")
    )
    return ResolvedInputs(
        alerts=_told_apart(alerts, taken, split),
        candles=_cut_apart(candles, runs, taken, split),
        mints=alerts.select("alert_id", "mint"),
        unresolved=frozenset(taken.filter(pl.col("outcome") == AMBIGUOUS)["alert_id"]),
    )


def _told_apart(alerts: pl.DataFrame, taken: pl.DataFrame, split: pl.DataFrame) -> pl.DataFrame:
    """The alerts, their mints of split addresses with the network taken, `?` where none is."""
    network = (
        pl.when(pl.col("outcome") == TAKEN)
        .then(pl.col("network").fill_null(""))
        .otherwise(pl.lit("?"))
    )
    renamed = taken.join(split, on=["chain", "mint"], how="semi").select(
        "alert_id", pl.format("{}:{}", network, "mint").alias("apart")
    )
    return (
        alerts.join(renamed, on="alert_id", how="left", maintain_order="left")
        .with_columns(pl.coalesce("apart", "mint").alias("mint"))
        .select(alerts.columns)
    )


def _cut_apart(
    candles: pl.DataFrame, runs: pl.DataFrame, taken: pl.DataFrame, split: pl.DataFrame
) -> pl.DataFrame:
    """The candles, those of split addresses with their network in the address, and of these only
    what a call takes."""
    if split.is_empty():
        return candles
    is_taken = taken.filter(pl.col("outcome") == TAKEN).select("chain", "mint", "network").unique()
    addresses = (
        runs.with_columns(network_of_token().alias("network"))
        .join(
            split.with_columns(pl.lit(value=True).alias("is_split")),
            on=["chain", "mint"],
            how="left",
            maintain_order="left",
        )
        .join(
            is_taken.with_columns(pl.lit(value=True).alias("is_taken")),
            on=["chain", "mint", "network"],
            how="left",
            nulls_equal=True,
            maintain_order="left",
        )
        .select(
            pl.when(pl.col("is_split").is_null())
            .then("mint")
            .when("is_taken")
            .then(pl.format("{}:{}", pl.col("network").fill_null(""), "mint"))
        )
        .to_series()
    )
    run_of_row = np.repeat(np.arange(runs.height), runs["rows"].to_numpy())
    return candles.with_columns(addresses.gather(run_of_row).alias("token_address")).filter(
        pl.col("token_address").is_not_null()
    )


def _runs(candles: pl.DataFrame) -> pl.DataFrame:
    """The stretches of rows of one token, in order: chain, mint, token_chain and how many `rows`.
    Slices hold one token each, so that they are few, and strings are compared run by run."""
    token = ("chain", "token_address", "token_chain")
    begins = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift()) for name in token)
    starts = candles.select(begins).to_series().arg_true()
    return candles[starts].select(
        "chain",
        pl.col("token_address").alias("mint"),
        "token_chain",
        pl.Series("rows", np.diff(np.append(starts.to_numpy(), candles.height)), pl.Int64),
    )


def check_inputs(alerts: Sequence[Artifact], slices: Sequence[Artifact]) -> None:
    """Refuse artifacts of a wrong type, and tombstoned ones; superseded ones may be used.

    Raises `ValidationFailed`, `Conflict`, naming them.
    """
    for expected, group in ((ALERTS, alerts), (OHLCV_SLICE, slices)):
        wrong = [
            f"{a.artifact_id} ({a.artifact_type})"
            for a in group
            if a.artifact_type != expected.name
        ]
        if wrong:
            raise ValidationFailed(f"not of type {expected.name}: {listed(wrong)}; leave them out")
    dead = [a.artifact_id for a in (*alerts, *slices) if a.status == "tombstoned"]
    if dead:
        raise Conflict(f"tombstoned inputs: {listed(dead)}; create an experiment without them")


def slice_windows(slices: Iterable[Artifact]) -> pl.DataFrame:
    """What each slice covers, from its logical key: artifact_id, chain, mint, token_chain (null if
    unknown), interval_s, start_us and end_us (`[start, end)`, microseconds UTC), row_count."""
    parsed = [(artifact, SliceKey.parse(artifact.logical_key)) for artifact in slices]
    rows = [
        (
            artifact.artifact_id,
            key.token.chain,
            key.token.address,
            key.token.network,
            key.interval_s,
            to_us(key.start),
            to_us(key.end),
            artifact.row_count,
        )
        for artifact, key in parsed
    ]
    schema = {
        "artifact_id": pl.String,
        "chain": pl.String,
        "mint": pl.String,
        "token_chain": pl.String,
        "interval_s": pl.Int64,
        "start_us": pl.Int64,
        "end_us": pl.Int64,
        "row_count": pl.Int64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def check_coverage(slices: Sequence[Artifact], min_coverage: float | None) -> None:
    """Refuse slices that hold less than `min_coverage` of the candles their window has room for.

    Raises `ValidationFailed` naming them.
    """
    if min_coverage is None:
        return
    step = pl.col("interval_s") * SECOND_US
    expected = -(-pl.col("end_us") // step) - -(-pl.col("start_us") // step)
    poor = (
        slice_windows(slices)
        .with_columns(expected.alias("expected"))
        .with_columns(
            pl.when(pl.col("expected") > 0)
            .then(pl.col("row_count") / pl.col("expected"))
            .otherwise(0.0)
            .alias("coverage")
        )
        .filter(pl.col("coverage") < min_coverage)
        .sort("coverage", "artifact_id")
    )
    if poor.height:
        named = [
            f"{artifact_id} ({coverage:.1%})"
            for artifact_id, coverage in poor.select("artifact_id", "coverage").iter_rows()
        ]
        raise ValidationFailed(
            f"{poor.height} slices are under min_coverage {min_coverage:.1%}: {listed(named)};"
            " leave them out, export them from a better source, or lower min_coverage"
        )


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    shown = ", ".join(names[:_SHOWN])
    more = len(names) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
