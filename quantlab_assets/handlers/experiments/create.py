"""Freeze an experiment: its artifacts, its strategy, its filters. From then on it never changes.

Selecting by `all` and `auto` asks the manifest without a cap and freezes what it found, by id: an
artifact that comes later is not part of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, Literal

import polars as pl

from quantlab_assets.domain.artifacts.identity import canonical_json
from quantlab_assets.domain.artifacts.records import (
    Artifact,
    ArtifactFilter,
    LineageInput,
    Provenance,
    PublishRequest,
)
from quantlab_assets.domain.artifacts.seed_types import ALERTS, EXPERIMENT_DEFINITION, OHLCV_SLICE
from quantlab_assets.domain.errors import NotFound, ValidationFailed
from quantlab_assets.domain.experiments.records import (
    AlertFilters,
    ExperimentDefinition,
    ExperimentRecord,
)
from quantlab_assets.domain.experiments.strategy import Strategy
from quantlab_assets.domain.time_us import SECOND_US
from quantlab_assets.domain.tokens.networks import (
    AMBIGUOUS,
    TAKEN,
    network_of_token,
)
from quantlab_assets.domain.tokens.token import CHAINS
from quantlab_assets.handlers.experiments.inputs import (
    ALERT_COLUMNS,
    check_inputs,
    networks_of_calls,
    select_alerts,
    slice_windows,
)
from quantlab_assets.ports.artifact_store import ArtifactStore
from quantlab_assets.ports.experiment_tracker import ExperimentTracker
from quantlab_assets.version import __version__

NAME_LENGTH: Final = 200


def create_experiment(
    store: ArtifactStore,
    tracker: ExperimentTracker,
    *,
    name: str,
    strategy: Strategy,
    alerts: Literal["all"] | Sequence[str],
    slices: Literal["auto"] | Sequence[str],
    engine_version: str,
    filters: AlertFilters | None = None,
    params: Mapping[str, Any] | None = None,
    min_coverage: float | None = None,
    provenance: Provenance | None = None,
    parent_id: str | None = None,
) -> tuple[ExperimentRecord, bool]:
    """Record the experiment and publish its definition; False if the same one was there already.

    `parent_id` names the experiment that this one is a rerun of.

    `alerts="all"` takes every active alerts artifact that has alerts within the filters' range.
    `slices="auto"` takes every active slice of a token those alerts call, on the network they take,
    that holds time a trade of the strategy could see: its window ends after the token's first call,
    and starts before the last one must have been closed, if the strategy limits that.

    Raises `NotFound` (an id), `ValidationFailed` (a wrong type, a bad name, filter or parameter,
    nothing selected), `Conflict` (a tombstoned input).
    """
    filters = _checked_filters(filters or AlertFilters())
    _check_label(name)
    _check_min_coverage(min_coverage)
    alert_artifacts = _alert_artifacts(store, alerts, filters)
    check_inputs(alert_artifacts, ())
    chosen = select_alerts(_read_alerts(store, alert_artifacts), filters)
    if chosen.is_empty():
        raise ValidationFailed(
            "no alert passes the filters; widen the date range, caller or chain, or ingest more"
        )
    slice_artifacts = _slice_artifacts(store, slices, chosen, strategy)
    check_inputs(alert_artifacts, slice_artifacts)
    definition = ExperimentDefinition(
        name=name,
        alert_artifact_ids=_ids(alert_artifacts),
        slice_artifact_ids=_ids(slice_artifacts),
        strategy=strategy,
        engine_version=engine_version,
        filters=filters,
        params=dict(params or {}),
        min_coverage=min_coverage,
    )
    experiment_id = _experiment_id(definition)
    try:
        return tracker.get(experiment_id), False
    except NotFound:
        # Published before it is recorded: killed in between, the next attempt completes it.
        _publish_definition(store, definition, provenance)
        return tracker.create(definition, parent_id=parent_id)


def _checked_filters(filters: AlertFilters) -> AlertFilters:
    """The filters with their times in UTC, so that one moment has one spelling."""
    start, end = (_utc(moment) for moment in (filters.start, filters.end))
    if start is not None and end is not None and start > end:
        raise ValidationFailed(f"the filters start {start} after they end {end}; swap them")
    if filters.chain is not None and filters.chain not in CHAINS:
        raise ValidationFailed(f"chain {filters.chain[:40]!r}: filter by {' or '.join(CHAINS)}")
    return replace(filters, start=start, end=end)


def _utc(moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    if moment.utcoffset() is None:
        raise ValidationFailed(f"filter time {moment} has no time zone; say which, such as UTC")
    return moment.astimezone(UTC)


def _check_label(name: str) -> None:
    if not name.strip() or len(name) > NAME_LENGTH or not name.isprintable():
        raise ValidationFailed(
            f"experiment name {name[:40]!r}: use 1 to {NAME_LENGTH} printable characters"
        )


def _check_min_coverage(min_coverage: float | None) -> None:
    if min_coverage is not None and not 0 <= min_coverage <= 1:
        raise ValidationFailed(f"min_coverage is a fraction from 0 to 1, not {min_coverage}")


def _alert_artifacts(
    store: ArtifactStore, alerts: Literal["all"] | Sequence[str], filters: AlertFilters
) -> list[Artifact]:
    if alerts == "all":
        artifacts = [
            artifact
            for artifact in store.list_artifacts(ArtifactFilter(ALERTS.name, "active")).artifacts
            if _meets(artifact, filters)
        ]
        if not artifacts:
            raise ValidationFailed(
                "the lake has no alerts in the filters' range; ingest exports or widen the range"
            )
        return artifacts
    if not alerts:
        raise ValidationFailed("no alerts are named; give artifact ids, or all")
    return store.get_artifacts(_distinct(alerts))


def _meets(artifact: Artifact, filters: AlertFilters) -> bool:
    """Whether an alerts artifact has alerts within the date range; one without rows has none."""
    if artifact.min_ts is None or artifact.max_ts is None:
        return False
    return (filters.end is None or artifact.min_ts <= filters.end) and (
        filters.start is None or artifact.max_ts >= filters.start
    )


def _read_alerts(store: ArtifactStore, artifacts: Sequence[Artifact]) -> pl.DataFrame:
    dataset = store.open_many(_ids(artifacts))
    return pl.DataFrame(pl.from_arrow(dataset.to_table(columns=list(ALERT_COLUMNS))))


def _slice_artifacts(
    store: ArtifactStore,
    slices: Literal["auto"] | Sequence[str],
    alerts: pl.DataFrame,
    strategy: Strategy,
) -> list[Artifact]:
    if slices == "auto":
        listed = store.list_artifacts(ArtifactFilter(OHLCV_SLICE.name, "active")).artifacts
        wanted = _slices_of_calls(slice_windows(listed), alerts, strategy)
        artifacts = [artifact for artifact in listed if artifact.artifact_id in wanted]
        if not artifacts:
            raise ValidationFailed(
                f"the lake has no candles after the {alerts.height} calls selected; export slices"
                " for these days first"
            )
        return artifacts
    if not slices:
        raise ValidationFailed("no slices are named; give artifact ids, or auto")
    return store.get_artifacts(_distinct(slices))


def _slices_of_calls(
    windows: pl.DataFrame, alerts: pl.DataFrame, strategy: Strategy
) -> frozenset[str]:
    """The slices whose token is called, on the network its calls take, and whose window meets the
    time after its calls. Of calls that are ambiguous all known networks: so execution can tell."""
    taken = networks_of_calls(alerts, windows, strategy.entry)
    calls = (
        alerts.select(
            "alert_id",
            pl.col("alert_ts_utc").to_physical().alias("alert_us"),
            pl.col("known_ts_utc").to_physical().alias("known_us"),
        )
        .join(taken, on="alert_id")
        .group_by("chain", "mint", network_of_token().alias("named"), "network", "outcome")
        .agg(pl.col("alert_us").min().alias("first_us"), pl.col("known_us").max().alias("last_us"))
    )
    met = windows.join(calls, on=["chain", "mint"]).filter(pl.col("end_us") > pl.col("first_us"))
    if strategy.exit.max_hold_s is not None:
        entry = strategy.entry
        seen_s = entry.delay_s + entry.max_wait_s + strategy.exit.max_hold_s
        met = met.filter(pl.col("start_us") <= pl.col("last_us") + seen_s * SECOND_US)
    network = network_of_token()
    chosen = met.filter(
        ((pl.col("outcome") == TAKEN) & network.eq_missing(pl.col("network")))
        | ((pl.col("outcome") == AMBIGUOUS) & network.is_not_null())
    )
    return frozenset(chosen["artifact_id"])


def _ids(artifacts: Sequence[Artifact]) -> tuple[str, ...]:
    return tuple(sorted(artifact.artifact_id for artifact in artifacts))


def _distinct(ids: Sequence[str]) -> list[str]:
    return sorted(set(ids))


def _experiment_id(definition: ExperimentDefinition) -> str:
    try:
        return definition.experiment_id
    except (ValueError, TypeError, RecursionError) as error:
        raise ValidationFailed(f"params are no plain JSON: {error}") from None


def _publish_definition(
    store: ArtifactStore, definition: ExperimentDefinition, provenance: Provenance | None
) -> None:
    """Publish what was frozen. The name is no part of it: the same experiment is the same bytes."""
    experiment_id = definition.experiment_id
    table = EXPERIMENT_DEFINITION.schema.empty_table().schema
    row = {
        "experiment_id": experiment_id,
        "definition_json": canonical_json(definition.canonical()).decode(),
    }
    store.publish_artifact(
        PublishRequest(
            artifact_type=EXPERIMENT_DEFINITION.name,
            logical_key=f"experiment={experiment_id}/definition",
            table=pl.DataFrame([row]).to_arrow().cast(table),
            provenance=provenance or Provenance("create_experiment", __version__),
            inputs=(LineageInput(input_set_id=store.freeze_inputs(definition.input_ids)),),
        )
    )
