"""The assets of the lab, one row each: its group, what it publishes, which jobs run it, its table.

Whatever needs a list of assets, of their types or of the tables of the research projection takes it
from here: the Dagster graph and its jobs, `quantlab` commands that run parts of it, results of
experiments, handlers that look for a day's partitions. So this is plain data in `domain`: `cli` and
`adapters` may not import `defs`, and commands that only look at the manifest import neither Dagster
nor Arrow. How an asset is made does not belong here (`defs.assets`), nor what its rows look like
(`domain.artifacts`, whose description of the type is the comment on its table).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from quantlab_assets.domain.errors import NotFound, ValidationFailed

Job = Literal["ingestion", "slices_and_coverage", "over_all_days"]
"""What sensors, schedules and commands start: the assets that name the job, in their order in the
graph. `ingestion` runs days from their messages to their coverage, `slices_and_coverage` days whose
alerts are there, `over_all_days` what is made from all days at once."""

DAILY: Final[tuple[Job, ...]] = ("ingestion",)
AFTER_CANDLES: Final[tuple[Job, ...]] = ("ingestion", "slices_and_coverage")
OVER_ALL_DAYS: Final[tuple[Job, ...]] = ("over_all_days",)

MESSAGES: Final = "telegram_messages"
ALERTS: Final = "alerts"
ALERT_EVENTS: Final = "alert_events"
ALERTS_QUARANTINE: Final = "alerts_quarantine"
SLICES: Final = "ohlcv_slices"
FORWARD_COVERAGE: Final = "alert_forward_coverage"
GAPS: Final = "coverage_gaps"
COVERAGE_SUMMARY: Final = "coverage_summary"
RESEARCH_PROJECTION: Final = "research_projection"
TRADES: Final = "experiment_trades"
METRICS: Final = "experiment_metrics"
CURVES: Final = "experiment_curves"
DIAGNOSTICS: Final = "experiment_diagnostics"
REPORT: Final = "experiment_report"


@dataclass(frozen=True, slots=True)
class Asset:
    """One asset.

    `artifact_type` is the type it publishes; None publishes no artifact. `table` is its table in
    the research projection: all active artifacts of the type; `key_columns` puts fields of their
    keys into columns, as (column, field). `description` is what the UI shows of an asset that is
    one of several made at once; those that are made alone have it in the docstring of their body.
    `body` says where the graph finds what makes an asset of a user's own, as `module:name`; the
    lab's own are in `defs.assets`.
    """

    name: str
    group: str
    artifact_type: str | None = None
    jobs: tuple[Job, ...] = ()
    table: str | None = None
    key_columns: tuple[tuple[str, str], ...] = ()
    description: str = ""
    body: str | None = None


@dataclass(frozen=True, slots=True)
class Assets:
    """The assets of a lake, by name. Raises `ValidationFailed` for two of one name or table."""

    rows: tuple[Asset, ...]

    def __post_init__(self) -> None:
        for what, names in (
            ("asset", [row.name for row in self.rows]),
            ("table", [row.table for row in self.rows if row.table is not None]),
        ):
            repeated = sorted({name for name in names if names.count(name) > 1})
            if repeated:
                raise ValidationFailed(f"{what} {repeated[0]!r} is there already; choose another")

    def __iter__(self) -> Iterator[Asset]:
        return iter(self.rows)

    def __getitem__(self, name: str) -> Asset:
        for row in self.rows:
            if row.name == name:
                return row
        raise NotFound(f"unknown asset {name!r}; known: {', '.join(row.name for row in self.rows)}")

    def of(self, *, job: Job | None = None, group: str | None = None) -> tuple[str, ...]:
        """The names of the assets of a job, of a group, or of both."""
        return tuple(
            row.name
            for row in self.rows
            if (job is None or job in row.jobs) and (group is None or row.group == group)
        )

    def type_of(self, name: str) -> str:
        """The artifact type that an asset publishes. Raises `NotFound` if it publishes none."""
        artifact_type = self[name].artifact_type
        if artifact_type is None:
            raise NotFound(f"asset {name} publishes no artifact")
        return artifact_type


_EXPERIMENT_KEY: Final = (("experiment_id", "experiment"),)
"""The rows of a result do not say whose they are; its key does."""


def _result(name: str) -> Asset:
    return Asset(name, "experiments", name, table=name, key_columns=_EXPERIMENT_KEY)


ASSETS: Final = Assets(
    (
        Asset("telegram_exports", "sources"),
        Asset(MESSAGES, "telegram", "telegram_messages", DAILY),
        Asset(
            ALERTS,
            "alerts",
            "alerts_v1",
            DAILY,
            ALERTS,
            description="Calls of one UTC day: who called which token, when, and when its address "
            "became known.\n\nOne row a (chat, message, token), one artifact a chain family. Only "
            "people and feeds call; bots and commands never do. A bot's answer within minutes, "
            "also after midnight, resolves tickers and pool links.",
        ),
        Asset(
            ALERT_EVENTS,
            "alerts",
            "alerts_event_v1",
            DAILY,
            ALERT_EVENTS,
            description="Every observation of the day's calls: the call, bot replies to it, edits "
            "of it.",
        ),
        Asset(
            ALERTS_QUARANTINE,
            "alerts",
            "alerts_quarantine",
            DAILY,
            description="Messages of the day that look like calls but cannot be trusted, each with "
            "its reason.",
        ),
        Asset("candle_files", "sources"),
        Asset(SLICES, "candles", "ohlcv_slice_v2", AFTER_CANDLES, SLICES),
        Asset(
            FORWARD_COVERAGE,
            "coverage",
            "alert_forward_coverage",
            AFTER_CANDLES,
            FORWARD_COVERAGE,
            description="For each call of the day and each horizon in hours: candles expected, "
            "there, and traded; the grade, and the reason where it is not covered.",
        ),
        Asset(
            GAPS,
            "coverage",
            "coverage_gaps",
            AFTER_CANDLES,
            GAPS,
            description="Holes in the candles of the tokens called on the day: at the head, "
            "inside, at the tail.",
        ),
        Asset(COVERAGE_SUMMARY, "coverage", "coverage_summary", OVER_ALL_DAYS, COVERAGE_SUMMARY),
        Asset(RESEARCH_PROJECTION, "projections", None, OVER_ALL_DAYS),
        _result(TRADES),
        _result(METRICS),
        _result(CURVES),
        _result(DIAGNOSTICS),
        Asset(REPORT, "experiments"),
    )
)
"""The lab's own assets, in the order in which they are made."""

RESULT_PARTS: Final[Mapping[str, str]] = {
    row.name.removeprefix("experiment_"): row.artifact_type
    for row in ASSETS
    if row.group == "experiments" and row.artifact_type is not None
}
"""The parts of an experiment's result, and the artifact type of each."""
