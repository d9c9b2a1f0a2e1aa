"""What the lake knows of each slice: how complete it is, and what became of its raw rows."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from quantlab_assets.domain.artifacts.records import ArtifactFilter, Status
from quantlab_assets.domain.artifacts.seed_types import CANDLES_QUARANTINE, OHLCV_SLICE
from quantlab_assets.domain.slices.key import SliceKey
from quantlab_assets.domain.tokens.token import fold_address
from quantlab_assets.ports.artifact_store import ArtifactStore

_ONE_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class SliceRecord:
    """One slice. `window_to` is not part of it.

    `gaps` counts its stretches of missing candles; `duplicates` and `conflicts` are rows of the
    window that repeated a candle or lost against one; `quarantined_rows` are all that were refused
    of the raw files it comes from. What was not recorded when it was made is None. `newest_ts` is
    the newest candle the source had then.
    """

    artifact_id: str
    token: str
    chain: str
    network: str | None
    interval_s: int
    window_from: datetime
    window_to: datetime
    status: Status
    grade: str | None
    coverage: float | None
    rows: int
    expected: int | None
    traded: int | None
    gaps: int | None
    duplicates: int | None
    conflicts: int | None
    quarantined_rows: int
    newest_ts: datetime | None


@dataclass(frozen=True, slots=True)
class SliceFilter:
    """Which slices: their windows touch the UTC days `first` to `last`; None does not restrict.

    `token` is a whole address; one of the EVM family in any case.
    """

    first: date | None = None
    last: date | None = None
    token: str | None = None
    grade: str | None = None
    interval_s: int | None = None
    superseded: bool = False


def list_slices(store: ArtifactStore, where: SliceFilter) -> list[SliceRecord]:
    """The slices that match, by window, token, interval and network; the active ones, and those
    that were superseded if asked for."""
    tags = {} if where.token is None else {"token": fold_address(where.token)}
    listed = store.list_artifacts(
        ArtifactFilter(
            artifact_type=OHLCV_SLICE.name,
            status=None if where.superseded else "active",
            tags=tags,
        )
    ).artifacts
    kept = [
        (artifact, key)
        for artifact in listed
        if _touches(key := SliceKey.parse(artifact.logical_key), where)
        and where.grade in (None, artifact.tags.get("grade"))
    ]
    ids = [artifact.artifact_id for artifact, _ in kept]
    publications = store.latest_publications(ids)
    sources = store.get_sources(ids)
    refused = _refused_rows(store)
    records = []
    for artifact, key in kept:
        publication = publications.get(artifact.artifact_id)
        newest = None if publication is None else publication.provenance.params.get("newest_ts")
        noted = artifact.tags
        records.append(
            SliceRecord(
                artifact_id=artifact.artifact_id,
                token=key.token.address,
                chain=key.token.chain,
                network=key.token.network,
                interval_s=key.interval_s,
                window_from=key.start,
                window_to=key.end,
                status=artifact.status,
                grade=noted.get("grade"),
                coverage=None if "coverage" not in noted else float(noted["coverage"]),
                rows=artifact.row_count,
                expected=_whole(noted.get("expected_candles")),
                traded=_whole(noted.get("traded_candles")),
                gaps=_whole(noted.get("gaps")),
                duplicates=_whole(noted.get("duplicate_rows")),
                conflicts=_whole(noted.get("conflicting_rows")),
                quarantined_rows=sum(
                    refused.get(source.sha256, 0) for source in sources[artifact.artifact_id]
                ),
                newest_ts=None if not newest else datetime.fromisoformat(str(newest)),
            )
        )
    return sorted(records, key=_order)


def _touches(key: SliceKey, where: SliceFilter) -> bool:
    """Whether a slice is of the interval, and holds a moment of the days asked for."""
    first = None if where.first is None else datetime.combine(where.first, time(), UTC)
    after = None if where.last is None else datetime.combine(where.last, time(), UTC) + _ONE_DAY
    return (
        where.interval_s in (None, key.interval_s)
        and (first is None or key.end > first)
        and (after is None or key.start < after)
    )


def _refused_rows(store: ArtifactStore) -> dict[str, int]:
    """How many rows of each raw file, by its hash, are in quarantine."""
    listed = store.list_artifacts(
        ArtifactFilter(artifact_type=CANDLES_QUARANTINE.name, status="active")
    ).artifacts
    sources = store.get_sources([artifact.artifact_id for artifact in listed])
    return {
        source.sha256: artifact.row_count
        for artifact in listed
        for source in sources[artifact.artifact_id]
    }


def _order(record: SliceRecord) -> tuple[object, ...]:
    return (
        record.window_from,
        record.token,
        record.interval_s,
        record.network or "",
        record.window_to,
        record.status,
        record.artifact_id,
    )


def _whole(text: str | None) -> int | None:
    return None if text is None else int(text)
