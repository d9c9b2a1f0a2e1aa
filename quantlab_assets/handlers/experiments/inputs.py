"""Which alerts of an experiment take part, and which candles each of them trades on.

Frames in, frames out. Creating an experiment and executing it share these rules, so that what was
selected is what is simulated.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from quantlab_assets.domain.artifacts.records import Artifact
from quantlab_assets.domain.artifacts.seed_types import ALERTS, OHLCV_SLICE
from quantlab_assets.domain.artifacts.type import INTERVALS
from quantlab_assets.domain.errors import Conflict, ValidationFailed
from quantlab_assets.domain.experiments.records import AlertFilters
from quantlab_assets.domain.time_us import SECOND_US, to_us

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
    `network:address` there, and `unresolved` alerts an address without candles. `mints` has
    alert_id and the address as it was called.
    """

    alerts: pl.DataFrame
    candles: pl.DataFrame
    mints: pl.DataFrame
    unresolved: frozenset[str]


def resolve_networks(alerts: pl.DataFrame, candles: pl.DataFrame) -> ResolvedInputs:
    """Give each alert the candles of its token's network.

    An alert that names a network takes its candles and those of an unknown network, unless the
    address has candles of several networks and its own is among them: unknown ones could be another
    token's. An alert that names none takes the address's only network; if there are several, it is
    unresolved.
    """
    columns = alerts.columns
    alerts = alerts.with_columns(_network().alias("network"))
    mints = alerts.select("alert_id", "mint")
    held = (
        candles.select("chain", pl.col("token_address").alias("mint"), "token_chain")
        .unique()
        .with_columns(_network().alias("network"))
        .select("chain", "mint", "network")
        .unique()
    )
    known = (
        held.drop_nulls("network")
        .group_by("chain", "mint")
        .agg(pl.col("network").sort().alias("networks"))
    )
    tokens = (
        alerts.select("chain", "mint", "network")
        .unique()
        .join(known, on=["chain", "mint"], how="left")
        .with_columns(pl.col("networks").fill_null([]))
        .with_columns(
            pl.col("networks").list.len().alias("known"),
            pl.col("networks").list.contains(pl.col("network")).fill_null(False).alias("among"),
        )
    )
    split = (
        tokens.filter(
            (pl.col("known") > 1)
            | ((pl.col("known") == 1) & pl.col("network").is_not_null() & ~pl.col("among"))
        )
        .select("chain", "mint")
        .unique()
    )
    if split.is_empty():
        return ResolvedInputs(alerts.select(columns), candles, mints, frozenset())
    feeds = _feeds(tokens.join(split, on=["chain", "mint"], how="semi"))
    fed = alerts.join(
        feeds, on=["chain", "mint", "network"], how="left", nulls_equal=True, maintain_order="left"
    )
    unresolved = fed.filter(pl.col("takes").list.len() == 0).filter(pl.col("network").is_null())[
        "alert_id"
    ]
    routes = (
        feeds.select("chain", "mint", "feed", "takes")
        .unique(["chain", "feed"])
        .explode("takes", empty_as_null=False)
        .rename({"takes": "route"})
    )
    apart = candles.rename({"token_address": "mint"}).join(
        split, on=["chain", "mint"], how="semi", maintain_order="left"
    )
    routed = (
        apart.with_columns(_network().fill_null("").alias("route"))
        .join(routes, on=["chain", "mint", "route"], how="inner", maintain_order="left")
        .with_columns(pl.col("feed").alias("token_address"))
        .select(candles.columns)
    )
    plain = candles.join(
        split.rename({"mint": "token_address"}),
        on=["chain", "token_address"],
        how="anti",
        maintain_order="left",
    )
    return ResolvedInputs(
        alerts=fed.with_columns(pl.coalesce("feed", "mint").alias("mint")).select(columns),
        candles=pl.concat([plain, routed]),
        mints=mints,
        unresolved=frozenset(unresolved),
    )


def _network() -> pl.Expr:
    """The network, null when unknown; a family with one network (Solana) has nothing to tell."""
    return pl.when(pl.col("token_chain") != pl.col("chain")).then(pl.col("token_chain"))


def _feeds(tokens: pl.DataFrame) -> pl.DataFrame:
    """For tokens of addresses on several networks: their name, and the networks they take candles
    of ('' is unknown; none at all for an unresolved token)."""
    only = pl.col("networks").list.first()
    network = pl.col("network")
    alone = pl.col("known") == 1
    named = pl.when(network.is_not_null()).then(network).when(alone).then(only)
    with_unknown = (pl.col("known") <= 1) | ~pl.col("among")
    return tokens.with_columns(
        pl.format("{}:{}", named.fill_null("?"), pl.col("mint")).alias("feed"),
        pl.when(named.is_null())
        .then(pl.lit([], dtype=pl.List(pl.String)))
        .when(with_unknown)
        .then(pl.concat_list(named.fill_null(""), pl.lit("")))
        .otherwise(pl.concat_list(named.fill_null("")))
        .alias("takes"),
    ).select("chain", "mint", "network", "feed", "takes")


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
    """What each slice covers, from its logical key: artifact_id, mint, network (null if unknown),
    interval_s, start_us and end_us (`[start, end)`, microseconds UTC), row_count."""
    rows = []
    for artifact in slices:
        fields = OHLCV_SLICE.parse_key(artifact.logical_key)
        network, _, address = fields["token"].rpartition(":")
        rows.append(
            (
                artifact.artifact_id,
                address,
                network if address.startswith("0x") and network else None,
                INTERVALS[fields["res"]],
                to_us(datetime.fromisoformat(fields["from"])),
                to_us(datetime.fromisoformat(fields["to"])),
                artifact.row_count,
            )
        )
    schema = {
        "artifact_id": pl.String,
        "mint": pl.String,
        "network": pl.String,
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
