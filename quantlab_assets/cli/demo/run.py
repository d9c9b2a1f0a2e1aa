"""`quantlab demo`: the whole pipeline on the sample, through the asset graph."""

import shutil
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

from quantlab_assets.cli.demo.findings import Findings, findings_of
from quantlab_assets.cli.demo.report import ARTIFACT_COLUMNS, artifact_records, as_document, report
from quantlab_assets.cli.graph.runs import Graph, open_graph
from quantlab_assets.cli.session import Session, pass_session
from quantlab_assets.cli.shell.command import quantlab_command
from quantlab_assets.cli.shell.output import (
    Format,
    console,
    format_option,
    write_document,
    write_records,
)
from quantlab_assets.domain.days import contiguous
from quantlab_assets.domain.errors import StoreUnavailable, ValidationFailed
from quantlab_assets.sample import sample_path
from quantlab_assets.settings import Settings

if TYPE_CHECKING:
    from quantlab_assets.cli.shell.progress import Progress
    from quantlab_assets.domain.experiments.strategy import Strategy
    from quantlab_assets.lake import Lake

DEFAULT_LAKE: Final = Path("quantlab-demo")
SAMPLE_EXPORT: Final = Path("telegram", "result.json")

NO_CANDLE_FILE: Final = frozenset({"empty_file", "unknown_shape", "unreadable_file"})
"""Codes of files that are no candle files at all: a mistake of whoever put them there."""


@quantlab_command(
    "demo",
    examples="""
    quantlab demo
    quantlab demo --lake /tmp/demo --format json
    """,
    default_lake=f"./{DEFAULT_LAKE}",
)
@format_option
@pass_session
def demo(session: Session, output_format: Format) -> None:
    """Run the whole pipeline on a small sample, in a lake of its own (./quantlab-demo).

    Telegram calls become alerts, candle slices, coverage, a DuckDB projection and one simulated
    experiment, all through the asset graph. Run it again: it adds nothing.
    """
    session.lake = session.lake or DEFAULT_LAKE
    findings = _run(session)
    if output_format is Format.TABLE:
        report(findings, console())
    elif output_format is Format.JSON:
        write_document(as_document(findings), output_format)
    else:
        write_records(artifact_records(findings), ARTIFACT_COLUMNS, output_format)


def _run(session: Session) -> Findings:
    settings = session.settings
    _check_self_contained(settings)
    settings.create_folders()
    _fill_inboxes(settings)
    lake = session.open_lake(create=True)
    from quantlab_assets.cli.shell.progress import show_progress

    with show_progress() as progress:
        progress.say("reading the inboxes")
        days = _days_to_ingest(lake)
        _check_candle_files(lake)
        before = {artifact.artifact_id for artifact in lake.store.list_artifacts().artifacts}
        with open_graph(settings) as graph:
            experiment_id = _materialise(lake, graph, days, progress)
        return findings_of(lake, days, experiment_id, before)


def _check_self_contained(settings: Settings) -> None:
    """The sample must never end up in anybody's real inbox or manifest."""
    strays = [
        str(folder) for folder in settings.folders() if not folder.is_relative_to(settings.lake)
    ]
    if settings.candle_inbox is None:
        strays.append(settings.candles_shown)
    if strays:
        raise ValidationFailed(
            f"the demo keeps to its own folder, and a variable names {strays[0]}; unset "
            "ARTIFACT_MANIFEST_DB, ARTIFACTS_ROOT, PROJECTION_CACHE_DIR, EXPERIMENT_DB, "
            "QUANTLAB_TELEGRAM_INBOX and QUANTLAB_CANDLES for it"
        )
    sample = sample_path() / SAMPLE_EXPORT
    given = settings.telegram_inbox / sample.name
    theirs = not given.exists() or given.stat().st_size != sample.stat().st_size
    if settings.manifest.exists() and theirs:
        raise ValidationFailed(
            f"{settings.lake} is a lake of your own, which the sample would mix with; name another "
            "folder: quantlab demo --lake quantlab-demo"
        )


def _fill_inboxes(settings: Settings) -> None:
    """Put the sample's files into the inboxes; a file that is there already is left alone."""
    sample = sample_path()
    wanted = [(sample / SAMPLE_EXPORT, settings.telegram_inbox)]
    if settings.candle_inbox is not None:
        candles = sorted((sample / "candles").iterdir())
        wanted += [(file, settings.candle_inbox) for file in candles]
    for file, inbox in wanted:
        target = inbox / file.name
        if target.exists():
            continue
        # Hidden until it is whole: a sensor may be looking.
        part = inbox / f".{file.name}.part"
        try:
            shutil.copyfile(file, part)
            part.replace(target)
        except OSError as error:
            raise StoreUnavailable(f"cannot write {target}: {error.strerror}") from error


def _days_to_ingest(lake: "Lake") -> list[date]:
    """The UTC days that the exports in the inbox have messages of."""
    days = {day for export in lake.ingestion.alert_source.exports() for day in export.days}
    if not days:
        raise ValidationFailed(
            f"no export in {lake.settings.telegram_inbox} has a message; remove what is "
            "there and run the demo again"
        )
    return sorted(days)


def _check_candle_files(lake: "Lake") -> None:
    for rejected in lake.ingestion.candle_source.rejects():
        refused = rejected.rows.filter(rejected.rows["row_number"] == 0).to_dicts()
        for row in refused:
            if row["error_code"] in NO_CANDLE_FILE:
                raise ValidationFailed(
                    f"{rejected.source.name} in {lake.settings.candles_shown}:"
                    f" {row['error_reason']}; replace or remove it"
                )


def _materialise(lake: "Lake", graph: Graph, days: list[date], progress: "Progress") -> str:
    """Materialise the graph for the days, then one experiment over all of it; its id."""
    by_day = lake.assets.of(job="ingestion")
    for first, last in contiguous(days):
        span = f"{first}" if first == last else f"{first} to {last}"
        graph.materialize(by_day, days=(first, last), on_step=progress.steps(span))
    graph.materialize(lake.assets.of(job="over_all_days"), on_step=progress.steps("all days"))
    experiment = lake.experiments.create("demo", demo_strategy())
    graph.materialize(
        lake.assets.of(group="experiments"),
        experiment=experiment.experiment_id,
        on_step=progress.steps("experiment"),
    )
    return experiment.experiment_id


def demo_strategy() -> "Strategy":
    """Stop at 30 %, half out at twice the price, a quarter at four times, the rest after 24 h."""
    from quantlab_assets.domain.experiments.strategy import Exit, Strategy, TakeProfit

    return Strategy(
        exit=Exit(
            stop_loss_pct=0.3,
            take_profits=(
                TakeProfit(gain_pct=1.0, fraction=0.5),
                TakeProfit(gain_pct=3.0, fraction=0.25),
            ),
            max_hold_s=24 * 3600,
        )
    )
