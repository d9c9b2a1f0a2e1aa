"""Sensors that watch the inboxes: thin shells around `handlers.inbox_changes`.

Each looks at its folder, reads what has settled, asks the lake which days that changes, and starts
one run for each range of such days. Off unless switched on.
"""

import time
from collections.abc import Callable, Mapping
from datetime import date

import dagster as dg

from quantlab_assets.defs.jobs import ingestion, slices_and_coverage
from quantlab_assets.defs.partitions import day_range_tags, days_there_are
from quantlab_assets.defs.resources import CandleFileCheck, LakeResource
from quantlab_assets.domain.assets import MESSAGES, SLICES
from quantlab_assets.handlers.ingest.changed_days import (
    days_calling,
    days_with_new_messages,
    days_with_new_slices,
)
from quantlab_assets.handlers.ingest.inbox_changes import (
    InboxDecision,
    KnownFile,
    ReadFile,
    RefusedFile,
    decide,
    from_cursor,
    reconsidered,
    settled_files,
    to_cursor,
)
from quantlab_assets.ports.inbox import InboxFile

INTERVAL_S = 30
READING_S = 20.0
"""How long a tick goes on opening files; Dagster gives a tick 60 s, the rest waits for the next."""
TOKEN_NAMES = "tokens.csv"  # noqa: S105

SETTLING = (
    "A file counts once its size and time are the same at two ticks, a page of an HTML export once "
    "those of all its pages are. One that cannot be used is "
    "put on record as quarantined and does not hold up the others."
)
TELEGRAM_DESCRIPTION = (
    "Runs the days that new or changed Telegram exports change, and the day before each.\n\n"
    + SETTLING
)
CANDLE_DESCRIPTION = "Runs the days whose slices new or changed candle files change.\n\n" + SETTLING

Memory = Mapping[str, KnownFile]


def inbox_sensors(
    *, interval_s: int = INTERVAL_S, running: bool = False
) -> list[dg.SensorDefinition]:
    """Both inbox sensors; `running` switches them on from the start."""
    status = dg.DefaultSensorStatus.RUNNING if running else dg.DefaultSensorStatus.STOPPED

    @dg.sensor(
        job=ingestion,
        minimum_interval_seconds=interval_s,
        default_status=status,
        description=TELEGRAM_DESCRIPTION,
    )
    def telegram_inbox(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult:
        return _result(context, lake, "telegram", telegram_tick(lake, from_cursor(context.cursor)))

    @dg.sensor(
        job=slices_and_coverage,
        minimum_interval_seconds=interval_s,
        default_status=status,
        description=CANDLE_DESCRIPTION,
    )
    def candle_inbox(
        context: dg.SensorEvaluationContext, lake: LakeResource
    ) -> dg.SensorResult | dg.SkipReason:
        if lake.candle_files() is None:
            return dg.SkipReason("candles come from a database; there is no folder to watch")
        return _result(context, lake, "candles", candle_tick(lake, from_cursor(context.cursor)))

    return [telegram_inbox, candle_inbox]


def telegram_tick(
    lake: LakeResource, memory: Memory, clock: Callable[[], float] = time.monotonic
) -> InboxDecision:
    """One look at the Telegram inbox."""
    listing = lake.telegram_files()
    stop = clock() + READING_S
    read: list[ReadFile] = []
    refused: list[RefusedFile] = []
    for file in settled_files(memory, listing, lake.telegram_group):
        if clock() > stop:
            break
        source = lake.telegram_file(file.path)
        refused += [RefusedFile(file, refusal.reason) for refusal in source.refused()]
        for export in source.exports():
            days = days_with_new_messages(lake.lake.store, MESSAGES, source)
            read.append(ReadFile(file, export.content, days))
    return decide(memory, listing, read, refused, span=days_there_are(), day_before=True)


def candle_tick(
    lake: LakeResource, memory: Memory, clock: Callable[[], float] = time.monotonic
) -> InboxDecision:
    """One look at the candle inbox."""
    stop = clock() + READING_S
    listing = lake.candle_files() or []
    settled = settled_files(memory, listing)
    if not settled:
        return decide(memory, listing, [], [], span=days_there_are(), day_before=False)
    folder = lake.candle_folder()
    checks = {check.path: check for check in folder.check()}
    refused: list[RefusedFile] = []
    named: dict[InboxFile, CandleFileCheck] = {}
    read: list[ReadFile] = []
    for file in settled:
        check = checks.get(file.path)
        if check is None and file.path == TOKEN_NAMES:
            # It says which tokens files are about: what was refused may be known by now.
            memory = reconsidered(memory)
            read.append(ReadFile(file, f"{TOKEN_NAMES} {file.mtime_ns}", ()))
        elif check is not None and not check.series:
            reason = check.refused[1] if check.refused else "no row of it is a candle"
            refused.append(RefusedFile(file, reason))
        elif check is not None and check.source is not None and check.source.size == file.size:
            named[file] = check
    store, window = lake.lake.store, lake.lake.measures.slice_window
    compared: dict[date, bool] = {}
    for number, (file, check) in enumerate(named.items()):
        if number and clock() > stop:
            break
        called = days_calling(store, _tokens(check))
        unseen = [day for day in called if day not in compared]
        changed: tuple[date, ...] = ()
        if unseen:
            changed = days_with_new_slices(store, SLICES, folder, unseen, window)
        compared.update((day, day in changed) for day in unseen)
        read.append(ReadFile(file, _content(check), tuple(d for d in called if compared[d])))
    return decide(memory, listing, read, refused, span=days_there_are(), day_before=False)


def _tokens(check: CandleFileCheck) -> set[tuple[str, str]]:
    return {(series.token.chain, series.token.address) for series in check.series}


def _content(check: CandleFileCheck) -> str:
    """Bytes and tokens: one table of prices under two names may be about two tokens."""
    assert check.source is not None
    keys = sorted({series.token.key for series in check.series})
    return " ".join([check.source.sha256, *keys])


def _result(
    context: dg.SensorEvaluationContext, lake: LakeResource, inbox: str, decision: InboxDecision
) -> dg.SensorResult:
    for refusal in decision.refused:
        path = f"{inbox}/{refusal.file.path}"
        lake.lake.ingestion.file_quarantine.record(path, refusal.reason)
        context.log.warning(f"{path} is left out: {refusal.reason}")
    requests = [
        dg.RunRequest(run_key=each.run_key, tags=day_range_tags(each.first, each.last))
        for each in decision.ranges
    ]
    left_out = _left_out(decision)
    if left_out:
        context.log.warning(left_out)
    cursor = to_cursor(decision.memory)
    if requests:
        return dg.SensorResult(run_requests=requests, cursor=cursor)
    return dg.SensorResult(skip_reason=left_out or _why_nothing(decision), cursor=cursor)


def _left_out(decision: InboxDecision) -> str:
    if not decision.left_out:
        return ""
    first, last = days_there_are()
    return (
        f"{len(decision.left_out)} days of new files, {decision.left_out[0]} to "
        f"{decision.left_out[-1]}, are left out: the graph's days run from {first} to {last}"
    )


def _why_nothing(decision: InboxDecision) -> str:
    waiting = sum(file.verdict == "settling" for file in decision.memory.values())
    return f"{waiting} files have yet to settle" if waiting else "nothing new in the inbox"
