"""`quantlab strategies`: trading rules kept under a name."""

from typing import TYPE_CHECKING, Any, Final

import click

from quantlab_assets.cli.session import Session, pass_session
from quantlab_assets.cli.shell.command import quantlab_command
from quantlab_assets.cli.shell.options import TEXT
from quantlab_assets.cli.shell.output import (
    Column,
    Format,
    Verbatim,
    format_option,
    to_json,
    write_document,
    write_record,
    write_records,
)

if TYPE_CHECKING:
    from quantlab_assets.handlers.experiments.strategies import NamedStrategy

FIELDS: Final = (
    Column("name"),
    Column("strategy", show=to_json),
    Column("artifact_id"),
    Column("created_at", show=lambda at: f"{at:%Y-%m-%d %H:%M:%S}"),
)


@quantlab_command(
    "add",
    examples="""
    quantlab strategies add runner strategy.json
    quantlab strategies add runner ./rules/runner.json --format json
    """,
)
@click.argument("name", type=TEXT)
@click.argument("file", metavar="FILE.json")
@format_option
@pass_session
def add(session: Session, name: str, file: str, output_format: Format) -> None:
    """Keep the strategy of a JSON file under a name; one of that name is superseded.

    Experiments hold a copy of their strategy: they are not touched.
    """
    from quantlab_assets.cli.experiments.create import find_strategy

    lake = session.open_lake()
    path = file if file.endswith(".json") or "/" in file else f"./{file}"
    _write(lake.experiments.add_strategy(name, find_strategy(lake, path)), output_format)


@quantlab_command("list", examples="quantlab strategies list --format json")
@format_option
@pass_session
def list_strategies(session: Session, output_format: Format) -> None:
    """List the strategies by name."""
    strategies = session.open_lake().experiments.strategies()
    write_records([_record(named) for named in strategies], FIELDS, output_format)


@quantlab_command(
    "show",
    examples="""
    quantlab strategies show runner
    quantlab strategies show runner --format json > strategy.json
    """,
)
@click.argument("name", type=TEXT)
@format_option
@pass_session
def show(session: Session, name: str, output_format: Format) -> None:
    """Show a strategy. As JSON it is what `add` and `create` take."""
    named = session.open_lake().experiments.strategy(name)
    if output_format in (Format.JSON, Format.JSONL):
        plain = Verbatim(named.strategy.model_dump(mode="json", exclude_none=True))
        write_document(plain, output_format)  # type: ignore[arg-type]
    else:
        _write(named, output_format)


def _write(named: "NamedStrategy", output_format: Format) -> None:
    write_record(_record(named), FIELDS, output_format)


def _record(named: "NamedStrategy") -> dict[str, Any]:
    return {
        "name": named.name,
        "strategy": Verbatim(named.strategy.model_dump(mode="json", exclude_none=True)),
        "artifact_id": named.artifact.artifact_id,
        "created_at": named.artifact.created_at,
    }
