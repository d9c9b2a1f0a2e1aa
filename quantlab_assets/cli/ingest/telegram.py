"""`quantlab ingest telegram`: exports into the inbox, their days through the asset graph."""

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from quantlab_assets.cli.graph.runs import Graph, open_graph
from quantlab_assets.cli.ingest.outcome import Ingestion
from quantlab_assets.cli.ingest.report import (
    as_document,
    facts,
    reading_of,
    report,
    warnings_of,
)
from quantlab_assets.cli.session import Session, pass_session
from quantlab_assets.cli.shell.command import quantlab_command
from quantlab_assets.cli.shell.options import check_range, day_range_options
from quantlab_assets.cli.shell.output import (
    Column,
    Format,
    console,
    format_option,
    plural,
    say,
    write_document,
    write_records,
)
from quantlab_assets.cli.shell.progress import Progress, show_progress
from quantlab_assets.domain.assets import ASSETS, MESSAGES
from quantlab_assets.domain.days import contiguous, with_day_before, with_days_beside
from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.telegram.chats import chat_id_of

if TYPE_CHECKING:
    from quantlab_assets.adapters.telegram.given import GivenExport
    from quantlab_assets.lake import Lake
    from quantlab_assets.ports.alert_source import Export
    from quantlab_assets.ports.artifact_store import ArtifactStore

FROM_MESSAGES: Final = (MESSAGES, *ASSETS.of(job="ingestion", group="alerts"))
"""The messages of a day, and what is extracted from them."""
_TELL_THE_ZONE: Final = "give the zone of the computer that exported, as --timezone Europe/Berlin"
_ARTIFACTS: Final = ("new_artifacts", "deduped_artifacts")


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command was asked for. `limits` are the first and the last day."""

    paths: Sequence[Path]
    chat_id: int | None
    timezone: str | None
    limits: tuple[date | None, date | None]


class ChatId(click.ParamType):  # type: ignore[type-arg]
    """A chat's id in any of its forms."""

    name = "chat id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The id in its plain form; fails on what is none."""
        chat_id = chat_id_of(value)
        if chat_id is None:
            self.fail(f"{value!r} is no chat's id, like 1976645587 or -1001976645587", param, ctx)
        return chat_id


@quantlab_command(
    "telegram",
    examples="""
    quantlab ingest telegram ~/Downloads/ChatExport_2025-11-09/result.json
    quantlab ingest telegram ~/Downloads/ChatExport_2025-11-09 --timezone Australia/Sydney
    quantlab ingest telegram exports/ --from 2025-11-01 --to 2025-11-07
    quantlab ingest telegram result.json --dry-run --format json
    """,
)
@click.argument(
    "paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH..."
)
@click.option(
    "--chat-id",
    type=ChatId(),
    metavar="N",
    help="The chat's id, as N, -100N or channelN. JSON with messages of another chat is refused.",
)
@click.option(
    "--timezone",
    metavar="auto|label|IANA",
    help="The clock of HTML exports: auto judges it by bots' buttons, label takes the labels.",
)
@day_range_options("to ingest")
@click.option("--dry-run", is_flag=True, help="Say what would happen; change nothing in the lake.")
@format_option
@pass_session
def telegram(
    session: Session,
    paths: tuple[Path, ...],
    chat_id: int | None,
    timezone: str | None,
    first: date | None,
    last: date | None,
    dry_run: bool,
    output_format: Format,
) -> None:
    """Ingest Telegram Desktop's exports, JSON or HTML: files, or folders that hold any.

    All pages of a folder are one chat. The files are copied into the inbox, a content only once.
    Then exactly the days they have messages of are run through the asset graph, and the day before
    each: a reply just after midnight resolves a call just before it. Ingesting again adds nothing.
    """
    check_range(first, last)
    asked = Asked(paths, chat_id, timezone, (first, last))
    with show_progress() as progress:
        run = _preview if dry_run else _ingest
        found = run(session, asked, progress)
    for day in found.left_out[:1]:
        say(f"{plural(len(found.left_out), 'day')} left out, which the graph has not, as {day}")
    if output_format is Format.TABLE:
        report(found, console())
    elif output_format is Format.JSON:
        write_document(as_document(found), output_format)
    else:
        columns = (Column("section"), Column("name"), Column("value"))
        write_records(list(facts(found)), columns, output_format)
    check_read(found)


def check_read(ingestion: Ingestion) -> None:
    """Raises `ValidationFailed` if there were records and none of them could be read."""
    records = sum(file["records"] for file in ingestion.files)
    unreadable = sum(file["unreadable"] for file in ingestion.files)
    if not records or unreadable < records:
        return
    codes = ", ".join(f"{code}: {count:,}" for code, count in ingestion.unreadable.items())
    where = "would be in quarantine" if ingestion.dry_run else "is in quarantine"
    if any(file["without_offset"] for file in ingestion.files):
        what_to_do = f"its times have no offset: {_TELL_THE_ZONE}"
    else:
        what_to_do = "quantlab quarantine list --rows says why"
    raise ValidationFailed(
        f"nothing could be read, all of {plural(unreadable, 'record')} {where} ({codes}); "
        f"{what_to_do}"
    )


def _is_undated(one: "GivenExport") -> bool:
    """Whether an export has unreadable records and no day that would put them into quarantine."""
    return bool(one.export.unreadable) and not one.export.days


def _ingest(
    session: Session,
    asked: Asked,
    progress: Progress,
) -> Ingestion:
    from quantlab_assets.handlers.ingest.changed_days import day_of_undated
    from quantlab_assets.handlers.ingest.quarantine import leave_when_read
    from quantlab_assets.lake.provenance import provenance_of

    lake = session.open_lake(create=True)
    candidates = _read(lake, lake.settings.telegram_spool, asked, progress)
    progress.say("copying into the inbox")
    described = []
    for one in candidates:
        name = one.take(lake.ingestion.telegram_intake)
        described.append(_described(one, name))
    with open_graph(lake.settings) as graph:
        days, left_out = _days(
            candidates, asked.limits, graph.days(MESSAGES), _held_days(lake.store)
        )
        counts = materialise_days(graph, days, progress)
        if not days and not left_out and any(_is_undated(one) for one in candidates):
            quarantining = materialise_days(graph, [day_of_undated(lake.store)], progress)
            counts.update({name: quarantining[name] for name in _ARTIFACTS})
    exports = [one.export for one in candidates]
    leave_when_read(lake.store, exports, provenance_of("ingest_telegram"))
    return Ingestion(
        files=described,
        days=days,
        left_out=left_out,
        counts=counts,
        unreadable=_unreadable(candidates),
        new_artifacts=counts["new_artifacts"],
        deduped_artifacts=counts["deduped_artifacts"],
        dry_run=False,
    )


def _preview(
    session: Session,
    asked: Asked,
    progress: Progress,
) -> Ingestion:
    from quantlab_assets.handlers.ingest.preview import preview_ingestion
    from quantlab_assets.lake import Lake

    lake = Lake(session.settings)
    store = lake.store if lake.settings.manifest.exists() else None
    with tempfile.TemporaryDirectory(prefix="quantlab-preview-") as spool:
        candidates = _read(lake, Path(spool), asked, progress)
        days, left_out = _days(candidates, asked.limits, None, _held_days(store))
        progress.say("extracting")
        found = preview_ingestion(store, _AllOf(candidates), days, lake.ingestion.rules)
        unreadable = _unreadable(candidates)
    return Ingestion(
        files=[_described(one, one.held_as) for one in candidates],
        days=days,
        left_out=left_out,
        counts=found.counts,
        unreadable=unreadable,
        new_artifacts=found.new_artifacts,
        deduped_artifacts=found.deduped_artifacts,
        dry_run=True,
    )


def materialise_days(graph: Graph, days: Sequence[date], progress: Progress) -> Counter[str]:
    """Messages and alerts of the days, contiguous days as one run; the figures of all, summed.

    The steps start over by themselves while others change the messages they read.
    """
    # A step that starts over may have told of a partition before: what it said last counts.
    figures: dict[tuple[str, str], Mapping[str, int]] = {}
    for first, last in contiguous(days):
        span = f"{first}" if first == last else f"{first} to {last}"
        run = graph.materialize(FROM_MESSAGES, days=(first, last), on_step=progress.steps(span))
        figures |= {(each.asset, each.partition): each.numbers for each in graph.figures(run)}
    counts: Counter[str] = Counter()
    for numbers in figures.values():
        counts.update(numbers)
    return counts


class _AllOf:
    """The candidates as one source, a content counting once."""

    def __init__(self, candidates: "Sequence[GivenExport]") -> None:
        self._by_hash = {one.export.source.sha256: one for one in reversed(candidates)}

    def exports(self) -> Sequence["Export"]:
        return [one.export for one in self._sorted()]

    def refused(self) -> Sequence[Any]:
        return []

    def read(self, day: date) -> Sequence[Any]:
        return [part for one in self._sorted() for part in one.source.read(day)]

    def times(self, messages: Any) -> Any:
        import polars as pl

        ids = ["chat_id", "message_id"]
        found = pl.concat(
            one.source.times(messages).with_columns(pl.lit(one.export.surety).alias("surety"))
            for one in self._sorted()
        )
        surest = found.sort("surety", "ts_utc", descending=[False, True])
        return surest.unique(ids, keep="first", maintain_order=True).drop("surety").sort(ids)

    def unreadable(self, source: Any) -> Any:
        return self._by_hash[source.sha256].source.unreadable(source)

    def _sorted(self) -> "list[GivenExport]":
        return [self._by_hash[sha256] for sha256 in sorted(self._by_hash)]


def _read(lake: "Lake", spool: Path, asked: Asked, progress: Progress) -> "list[GivenExport]":
    """Read every export before anything is ingested: one that is none stops it all."""
    found = []
    for given in lake.ingestion.given_exports(asked.paths):
        progress.say(f"reading {given.shown.name}")
        for note in given.notes:
            say(note)
        one = lake.ingestion.read_given(
            given, spool, timezone=asked.timezone, chat_id=asked.chat_id
        )
        if asked.chat_id is not None and not given.is_html:
            _check_chat(one, asked.chat_id)
        for warning in warnings_of(one.export.reading):
            say(f"{given.shown}: {warning}")
        if 0 < (late := one.without_offset) < one.export.records:
            say(
                f"{given.shown}: the times of {plural(late, 'record')} have no offset; "
                f"{_TELL_THE_ZONE}"
            )
        found.append(one)
    return found


def _check_chat(one: "GivenExport", chat_id: int) -> None:
    chats: set[int] = set()
    for day in one.export.days:
        for part in one.source.read(day):
            chats |= set(part.messages["chat_id"].unique().to_list())
    others = sorted(chats - {chat_id})
    if others:
        shown = ", ".join(map(str, others[:5])) + (", ..." if len(others) > 5 else "")
        raise ValidationFailed(
            f"{one.given.shown.name}: has messages of chat {shown}, not only of {chat_id}; ingest "
            "it without --chat-id, or export that chat alone"
        )


def _days(
    candidates: "Sequence[GivenExport]",
    limits: tuple[date | None, date | None],
    there_are: tuple[date, date] | None,
    held: set[date],
) -> tuple[list[date], list[date]]:
    """The days to run, each with the day before it; and the days that are no partitions."""
    first, last = limits
    wanted = {
        day
        for one in candidates
        for day in one.export.days
        if (first is None or day >= first) and (last is None or day <= last)
    }
    run = with_day_before(wanted)
    if any(one.given.is_html for one in candidates):
        # Messages that another clock had put into the day beside leave it.
        run |= with_days_beside(wanted) & held
    if there_are is None:
        return sorted(run), []
    inside = {day for day in run if there_are[0] <= day <= there_are[1]}
    return sorted(inside), sorted(wanted - inside)


def _held_days(store: "ArtifactStore | None") -> set[date]:
    """The days of which the lake holds messages."""
    from quantlab_assets.domain.artifacts.records import ArtifactFilter
    from quantlab_assets.domain.artifacts.seed_types import TELEGRAM_MESSAGES

    if store is None:
        return set()
    found = store.list_artifacts(ArtifactFilter(ASSETS.type_of(MESSAGES), "active")).artifacts
    keys = (TELEGRAM_MESSAGES.parse_key_of_any_version(one.logical_key) for one in found)
    return {date.fromisoformat(key["day"]) for key in keys}


def _described(one: "GivenExport", name: str | None) -> dict[str, Any]:
    return {
        "path": one.given.shown,
        "inbox": name,
        "held": one.held_as is not None,
        "sha256": one.export.source.sha256,
        "records": one.export.records,
        "unreadable": one.export.unreadable,
        "without_offset": one.without_offset,
        "days": len(one.export.days),
        "pages": len(one.export.files),
        **reading_of(one.export.reading),
    }


def _unreadable(candidates: "Sequence[GivenExport]") -> dict[str, int]:
    counts: Counter[str] = Counter()
    for one in {each.export.source.sha256: each for each in candidates}.values():
        if one.export.unreadable:
            codes = one.source.unreadable(one.export.source)["error_code"].to_list()
            counts.update(codes)
    return dict(sorted(counts.items()))
