"""`quantlab experiments reproduce|check-lookahead`: whether a result can be trusted."""

from typing import Any, Final

import click

from quantlab_assets.cli.session import Session, pass_session
from quantlab_assets.cli.shell.command import quantlab_command
from quantlab_assets.cli.shell.options import id_argument
from quantlab_assets.cli.shell.output import (
    Column,
    Format,
    console,
    format_option,
    plural,
    say,
    write_document,
    write_record,
    write_records,
)

REPRODUCED: Final = (
    Column("experiment_id"),
    Column("verdict"),
    Column("message"),
    Column("notes", show="; ".join),
)
LEAKS: Final = (
    Column("alert_id"),
    Column("decision"),
    Column("at", show=lambda at: f"{at:%Y-%m-%d %H:%M:%S}"),
    Column("future"),
    Column("field"),
    Column("before"),
    Column("after"),
)
LEAKS_SHOWN: Final = 20


@quantlab_command(
    "reproduce",
    examples="""
    quantlab experiments reproduce exp-4f1c09aa
    quantlab experiments reproduce exp-4f1c09aa --format json
    """,
)
@id_argument("experiment_id")
@format_option
@pass_session
def reproduce(session: Session, experiment_id: str, output_format: Format) -> int:
    """Compute a completed experiment again, from the manifest alone, and compare; publish nothing.

    IDENTICAL is exit code 0. DRIFTED (the first differing row and column are named) and
    ENGINE-DIFFERS are 1, INPUT-MISSING is 3, INPUT-CORRUPT 4.
    """
    experiments = session.open_lake().experiments
    with console(stderr=True).status("computing it again"):
        reproduction = experiments.reproduce(experiment_id)
    difference = reproduction.difference
    shown: dict[str, Any] = {
        "experiment_id": reproduction.experiment_id,
        "verdict": reproduction.verdict,
        "message": reproduction.message,
        "notes": reproduction.notes,
        "parts": [
            {
                "part": part.part,
                "artifact_id": part.artifact_id,
                "identical": part.identical,
                "recorded": part.recorded,
                "reproduced": part.reproduced,
            }
            for part in reproduction.parts
        ],
        "difference": None
        if difference is None
        else {
            "part": difference.part,
            "row": difference.row,
            "column": difference.column,
            "recorded": difference.recorded,
            "reproduced": difference.reproduced,
            "recorded_rows": difference.recorded_rows,
            "reproduced_rows": difference.reproduced_rows,
        },
        "missing_inputs": reproduction.missing_inputs,
        "corrupt_inputs": reproduction.corrupt_inputs,
    }
    write_record(shown, REPRODUCED, output_format)
    return reproduction.exit_code


@quantlab_command(
    "check-lookahead",
    examples="""
    quantlab experiments check-lookahead exp-4f1c09aa
    quantlab experiments check-lookahead exp-4f1c09aa --samples 500 --format json
    """,
)
@id_argument("experiment_id")
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    metavar="N",
    help="How many trades, and how many calls without one, to check.",
)
@format_option
@pass_session
def check_lookahead(
    session: Session, experiment_id: str, samples: int, output_format: Format
) -> int:
    """Replace all candles after a decision by garbage: the decision must not change.

    Exit code 0 if none does, else 1.
    """
    experiments = session.open_lake().experiments
    with console(stderr=True).status("replacing the future"):
        check = experiments.check_lookahead(experiment_id, samples=samples)
    leaks = [
        {
            "alert_id": leak.alert_id,
            "decision": leak.decision,
            "at": leak.at,
            "future": leak.garbage,
            "field": leak.field,
            "before": leak.before,
            "after": leak.after,
        }
        for leak in check.leaks
    ]
    if output_format in (Format.CSV, Format.JSONL):
        write_records(leaks, LEAKS, output_format)
    elif output_format is Format.JSON:
        write_document(
            {
                "experiment_id": check.experiment_id,
                "clean": check.clean,
                "trades": check.trades,
                "decisions": check.decisions,
                "simulations": check.simulations,
                "leaks": leaks,
                "covered": check.covered,
                "not_covered": check.not_covered,
            },
            output_format,
        )
    else:
        checked = ", ".join(f"{count} {kind}" for kind, count in check.decisions.items())
        click.echo(f"{check.experiment_id}: {'CLEAN' if check.clean else 'LOOK-AHEAD'}")
        click.echo(
            f"checked {checked or 'nothing'} of {plural(check.trades, 'trade')},"
            f" in {check.simulations} altered futures"
        )
        for title, lines in (("Covered:", check.covered), ("Not covered:", check.not_covered)):
            click.echo(title)
            for line in lines:
                click.echo(f"  - {line}")
        if leaks:
            write_records(leaks[:LEAKS_SHOWN], LEAKS, output_format)
    if len(leaks) > LEAKS_SHOWN and output_format is Format.TABLE:
        say(f"and {len(leaks) - LEAKS_SHOWN} more; see them all with --format csv")
    return 0 if check.clean else 1
