"""What a lake holds as Polars frames: alerts, candles of a token, results of experiments.

Whole artifacts are chosen by the manifest, rows by a filter. Joins and sums are asked in SQL
(`queries`).
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from quantlab_assets.domain.artifacts.records import ArtifactFilter
from quantlab_assets.domain.artifacts.registry import TypeRegistry
from quantlab_assets.domain.assets import ALERTS, ASSETS, SLICES
from quantlab_assets.domain.errors import NotFound, ValidationFailed

if TYPE_CHECKING:
    import polars as pl

    from quantlab_assets.ports.artifact_store import ArtifactStore
    from quantlab_assets.ports.experiment_tracker import ExperimentTracker


def alerts(
    store: "ArtifactStore",
    types: TypeRegistry,
    start: datetime,
    end: datetime,
    caller: str | None = None,
) -> "pl.LazyFrame":
    """Active alerts with `start <= alert_ts_utc < end`, by time; of one `caller_name_norm` if
    given.

    Times without a zone are refused: they would mean another moment on another machine.
    """
    import polars as pl

    start, end = _utc(start, "start"), _utc(end, "end")
    frame = _active(store, types, ALERTS, start, end).filter(
        (pl.col("alert_ts_utc") >= start) & (pl.col("alert_ts_utc") < end)
    )
    if caller is not None:
        frame = frame.filter(pl.col("caller_name_norm") == caller)
    return frame.sort("alert_ts_utc", "alert_id")


def candles(
    store: "ArtifactStore", types: TypeRegistry, mint: str, start: datetime, end: datetime
) -> "pl.LazyFrame":
    """Candles of a token with `start <= ts < end` over all active slices, by time.

    Where slices and intervals overlap, the finest interval is taken, by the same rule as in the
    simulation (docs/simulation.md). One address on several networks is several tokens: then
    there is one candle a moment and `token_chain`, those of no known network by themselves.
    """
    import polars as pl

    from quantlab_assets.domain.tokens.networks import network_of_token
    from quantlab_assets.domain.tokens.token import fold_address
    from quantlab_assets.simulation.market.candle_book import one_candle_a_moment

    start, end = _utc(start, "start"), _utc(end, "end")
    address = fold_address(mint)
    frame = _active(store, types, SLICES, start, end, tags={"token": address}).filter(
        (pl.col("token_address") == address) & (pl.col("ts") >= start) & (pl.col("ts") < end)
    )
    candles = frame.collect()
    tokens = candles.with_columns(network_of_token().alias("network")).partition_by("network")
    if len(tokens) < 2:
        return one_candle_a_moment(candles).lazy()
    merged = [one_candle_a_moment(token.drop("network")) for token in tokens]
    return pl.concat(merged).lazy().sort("ts", "token_chain")


def result(
    store: "ArtifactStore", tracker: "ExperimentTracker", experiment_id: str, part: str
) -> "pl.DataFrame":
    """One part of the result of a completed experiment. Raises `NotFound`."""
    import polars as pl

    record = tracker.get(experiment_id)
    if part not in record.outputs:
        raise NotFound(
            f"experiment {experiment_id} is {record.status} and has no {part}; execute it first"
        )
    table = store.open(record.outputs[part], verify=True).to_table()
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


def _active(
    store: "ArtifactStore",
    types: TypeRegistry,
    asset: str,
    start: datetime,
    end: datetime,
    tags: Mapping[str, str] | None = None,
) -> "pl.LazyFrame":
    import polars as pl

    artifact_type = ASSETS.type_of(asset)
    page = store.list_artifacts(
        ArtifactFilter(artifact_type=artifact_type, status="active", tags=tags or {})
    ).artifacts
    wanted = [
        artifact.artifact_id
        for artifact in page
        if artifact.min_ts is not None
        and artifact.max_ts is not None
        and artifact.min_ts < end
        and artifact.max_ts >= start
    ]
    if not wanted:
        return pl.LazyFrame(types.get(artifact_type).empty())
    return pl.scan_pyarrow_dataset(store.open_many(sorted(wanted)))


def _utc(moment: datetime, name: str) -> datetime:
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise ValidationFailed(f"{name} needs a time zone, e.g. datetime(2025, 11, 7, tzinfo=UTC)")
    return moment.astimezone(UTC)
