"""`quantlab artifacts lineage|downstream`: what an artifact was made from, and what came of it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from quantlab_assets.cli.artifacts.records import EDGES, lineage_record, short_id
from quantlab_assets.cli.session import Session, pass_session
from quantlab_assets.cli.shell.command import quantlab_command
from quantlab_assets.cli.shell.options import id_argument
from quantlab_assets.cli.shell.output import (
    Format,
    console,
    format_option,
    plural,
    printable,
    say,
    size,
    write_document,
    write_records,
)

if TYPE_CHECKING:
    from rich.tree import Tree

    from quantlab_assets.adapters.artifact_store import ParquetStore
    from quantlab_assets.domain.artifacts.records import Artifact, Lineage, SourceFile

depth_option = click.option(
    "--depth", type=click.IntRange(min=1), help="At most so many steps. Default: all the way."
)


@quantlab_command(
    "lineage",
    examples="""
    quantlab artifacts lineage 4f1c09aa
    quantlab artifacts lineage 4f1c09aa --depth 1 --format json
    """,
)
@id_argument("artifact_id")
@depth_option
@click.option(
    "--all-publications",
    is_flag=True,
    help="Follow every publication of each artifact, not only the one that created it.",
)
@format_option
@pass_session
def lineage(
    session: Session,
    artifact_id: str,
    depth: int | None,
    all_publications: bool,
    output_format: Format,
) -> None:
    """Show what an artifact was made from, down to the raw files.

    Programs get the whole graph as JSON; CSV and JSON lines have its edges.
    """
    store = session.open_lake().store
    graph = store.get_lineage(
        store.resolve_id(artifact_id), depth=depth, all_publications=all_publications
    )
    below: dict[str, list[str]] = {}
    for edge in graph.edges:
        below.setdefault(edge.artifact_id, []).append(edge.input_id)
    _write(store, graph, below, output_format)


@quantlab_command(
    "downstream",
    examples="""
    quantlab artifacts downstream 4f1c09aa
    quantlab artifacts downstream 4f1c09aa --depth 1 --format csv
    """,
)
@id_argument("artifact_id")
@depth_option
@format_option
@pass_session
def downstream(
    session: Session, artifact_id: str, depth: int | None, output_format: Format
) -> None:
    """Show what was made from an artifact, by any publication."""
    store = session.open_lake().store
    graph = store.get_downstream(store.resolve_id(artifact_id), depth=depth)
    below: dict[str, list[str]] = {}
    for edge in graph.edges:
        below.setdefault(edge.input_id, []).append(edge.artifact_id)
    _write(store, graph, below, output_format)


def _write(
    store: "ParquetStore",
    graph: "Lineage",
    below: Mapping[str, Sequence[str]],
    output_format: Format,
) -> None:
    record = lineage_record(store, graph)
    if output_format is Format.JSON:
        write_document(record, output_format)
    elif output_format is Format.TABLE:
        console().print(_tree(graph, below))
        files = len({edge.source.sha256 for edge in graph.sources})
        say(f"{plural(len(graph.artifacts) - 1, 'artifact')}, {plural(files, 'raw file')}")
    else:
        write_records(record["edges"], EDGES, output_format)


def _tree(graph: "Lineage", below: Mapping[str, Sequence[str]]) -> "Tree":
    """Each artifact spread out where it is met first: the graph is no tree, and may be large."""
    from rich.text import Text
    from rich.tree import Tree

    sources: dict[str, list[SourceFile]] = {}
    for edge in graph.sources:
        sources.setdefault(edge.artifact_id, []).append(edge.source)
    root = Tree(Text(""))
    spread: set[str] = set()
    pending: list[tuple[str | SourceFile, Tree]] = [(graph.root, root)]
    while pending:
        node, parent = pending.pop()
        if not isinstance(node, str):
            hashed = short_id(node.sha256.removeprefix("sha256:"))
            raw = f"raw file {node.name} ({node.kind}, {size(node.size)}, {hashed})"
            parent.add(Text(printable(raw)))
            continue
        text = _described(graph.artifacts[node])
        under: list[str | SourceFile] = [*dict.fromkeys(below.get(node, ()))]
        under += sources.get(node, ())
        if node in spread:
            parent.add(Text(f"{text}  (see above)" if under else text))
            continue
        spread.add(node)
        branch = parent.add(Text(text))
        pending += [(child, branch) for child in reversed(under)]
    return root.children[0]


def _described(artifact: "Artifact") -> str:
    mark = "" if artifact.status == "active" else f"  {artifact.status}"
    return printable(
        f"{short_id(artifact.artifact_id)}  {artifact.artifact_type}  {artifact.logical_key}{mark}"
    )
