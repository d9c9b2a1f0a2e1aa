"""`quantlab ingest candles`: files into the candle inbox, or their candles into a ClickHouse."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from quantlab_assets.cli.session import Session, pass_session
from quantlab_assets.cli.shell.command import quantlab_command
from quantlab_assets.cli.shell.output import (
    Column,
    Format,
    console,
    format_option,
    plural,
    printable,
    say,
    write_document,
    write_records,
    write_table,
)
from quantlab_assets.cli.shell.progress import show_progress
from quantlab_assets.domain.errors import ValidationFailed

if TYPE_CHECKING:
    from quantlab_assets.handlers.ingest.candles import CandleIngestion
    from quantlab_assets.ports.candle_intake import GivenFile, Placed

_COUNTS: Final = (Column("what"), Column("count", show=lambda n: f"{n:,}", right=True))
_FACTS: Final = (Column("section"), Column("name"), Column("value"))


@quantlab_command(
    "candles",
    examples="""
    quantlab ingest candles ~/Downloads/candles
    quantlab ingest candles bsc_0x2338c5ad75967dac2ff988fc3488109ec2406dfe.csv --dry-run
    quantlab ingest candles candles/ more/ --format json
    """,
)
@click.argument(
    "paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH..."
)
@click.option("--dry-run", is_flag=True, help="Say what would happen; change nothing.")
@format_option
@pass_session
def candles(
    session: Session, paths: tuple[Path, ...], dry_run: bool, output_format: Format
) -> None:
    """Take in candle files (CSV, Parquet), or folders of them, and say what is in them.

    They are copied into the candle inbox, a content only once; where QUANTLAB_CANDLES names a
    ClickHouse, their candles are put into its table, and what it has already is left out. Taking
    the same files in again adds nothing. A `tokens.csv` or `candles.toml` in a folder comes along.
    """
    from quantlab_assets.handlers.ingest.candles import ingest_candles
    from quantlab_assets.lake import Lake

    lake = Lake(session.settings) if dry_run else session.open_lake(create=True)
    if not dry_run:
        lake.store.is_available()  # makes the manifest of a new lake
    with show_progress() as progress:
        reader, target = lake.ingestion.candles.intake(paths, dry_run=dry_run)
        ingestion = ingest_candles(reader, target, progress.say)
    where = session.settings.candles_shown
    for given, _ in ingestion.files:
        if given.refused is not None:
            say(f"{given.path.name}: {given.refused[0]}: {given.refused[1]}")
    if output_format is Format.TABLE:
        _report(ingestion, where, dry_run)
    elif output_format is Format.JSON:
        write_document(_document(ingestion, where, dry_run), output_format)
    else:
        write_records(list(_facts(ingestion)), _FACTS, output_format)
    if all(given.refused is not None for given, _ in ingestion.files):
        raise ValidationFailed("none of these files holds candles of a token that can be told")


def _document(ingestion: "CandleIngestion", where: str, dry_run: bool) -> dict[str, Any]:
    inserted = ingestion.inserted
    return {
        "dry_run": dry_run,
        "target": where,
        "files": [_file(given, placed) for given, placed in ingestion.files],
        "tokens": [token.key for token in ingestion.tokens],
        "rows": ingestion.counts.rows,
        "candles": ingestion.counts.candles,
        "duplicates": ingestion.counts.duplicates,
        "conflicts": ingestion.counts.conflicts,
        "quarantined": [
            {"code": code, "count": count} for code, count in ingestion.rejected.items()
        ],
        "unresolvable_files": ingestion.unresolvable,
        "refused_files": ingestion.refused,
        "inserted": None if inserted is None else {"new": inserted.new, "there": inserted.there},
    }


def _file(given: "GivenFile", placed: "Placed") -> dict[str, Any]:
    return {
        "path": given.path,
        "sha256": given.source.sha256,
        "state": placed.state,
        "inbox": placed.name,
        "tokens": [token.key for token in given.tokens],
        "rows": given.counts.rows,
        "candles": given.counts.candles,
        "duplicates": given.counts.duplicates,
        "conflicts": given.counts.conflicts,
        "quarantined": given.counts.rejected,
        "refused": None if given.refused is None else given.refused[0],
    }


def _totals(ingestion: "CandleIngestion") -> dict[str, int]:
    counts = ingestion.counts
    of_refused = counts.rejected - sum(ingestion.rejected.values())
    totals = {
        "files": len(ingestion.files),
        "files there already": sum(placed.state == "held" for _, placed in ingestion.files),
        "files whose token cannot be told": ingestion.unresolvable,
        "files without candles": ingestion.refused,
        "tokens": len(ingestion.tokens),
        "rows": counts.rows,
        "candles": counts.candles,
        "duplicate rows": counts.duplicates,
        "conflicting rows": counts.conflicts,
        **{f"quarantined rows: {code}": n for code, n in ingestion.rejected.items()},
        **({"rows of files refused whole": of_refused} if of_refused else {}),
    }
    if ingestion.inserted is not None:
        totals["candles new to the table"] = ingestion.inserted.new
        totals["candles the table has, or has better"] = ingestion.inserted.there
    return totals


def _facts(ingestion: "CandleIngestion") -> Iterator[dict[str, Any]]:
    for given, placed in ingestion.files:
        yield {"section": "files", "name": str(given.path), "value": placed.state}
    for name, count in _totals(ingestion).items():
        yield {"section": "totals", "name": name, "value": count}


def _report(ingestion: "CandleIngestion", where: str, dry_run: bool) -> None:
    target = console()
    would = "would be " if dry_run else ""
    for given, placed in ingestion.files:
        if placed.state == "held":
            state = f"there already as {placed.name}"
        elif placed.state == "left_out":
            state = "left out"
        else:
            state = f"{would}copied as {placed.name}" if placed.name else f"{would}put in"
        names = ", ".join(token.key for token in given.tokens[:2]) or "no token"
        more = f" and {len(given.tokens) - 2} more" if len(given.tokens) > 2 else ""
        line = f"{given.path}: {plural(given.counts.candles, 'candle')} of {names}{more}; {state}"
        target.print(printable(line), markup=False, soft_wrap=True)
    target.print(printable(f"Into {where}"), markup=False, soft_wrap=True)
    rows = [{"what": name, "count": count} for name, count in _totals(ingestion).items()]
    write_table(rows, _COUNTS, target)
