"""`quantlab status`: what is in the lake, from the manifest and the folders; reads no data."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from quantlab_assets.cli.session import Session, pass_session
from quantlab_assets.cli.shell.command import quantlab_command
from quantlab_assets.cli.shell.output import (
    Column,
    Format,
    console,
    format_option,
    plural,
    printable,
    size,
    write_document,
    write_records,
    write_table,
)

ARTIFACT_COLUMNS = (
    Column("artifact_type"),
    Column("status"),
    Column("artifacts", right=True),
    Column("rows", right=True),
    Column("bytes", show=size, right=True),
)
FACT_COLUMNS = (Column("section"), Column("name"), Column("value"))


@quantlab_command(
    "status",
    examples="""
    quantlab status
    quantlab status --lake quantlab-demo --format json
    """,
)
@format_option
@pass_session
def status(session: Session, output_format: Format) -> None:
    """Show what the lake holds: artifacts, experiments, inboxes, disk use."""
    report = _status(session)
    if output_format is Format.TABLE:
        _print(report)
    elif output_format is Format.JSON:
        write_document(report, output_format)
    else:
        write_records(list(_facts(report)), FACT_COLUMNS, output_format)


def _status(session: Session) -> dict[str, Any]:
    from quantlab_assets.lake.sources import candle_setup

    settings = session.settings
    candles = candle_setup(settings)
    inboxes = {"telegram": settings.telegram_inbox}
    if candles.inbox is not None:
        inboxes["candles"] = candles.inbox
    if not settings.manifest.exists():
        artifacts: list[dict[str, Any]] = []
        experiments: dict[str, int] = {}
        newest = None
    else:
        census = session.census()
        artifacts = [asdict(count) for count in census.artifacts]
        experiments = census.experiments
        newest = census.newest_alert
    return {
        "lake": settings.lake,
        "exists": settings.manifest.exists(),
        "artifacts": artifacts,
        "experiments": experiments,
        "newest_alert_day": newest.date() if newest else None,
        "inboxes": {name: _inbox(folder) for name, folder in inboxes.items()},
        "candle_database": candles.shown if candles.inbox is None else None,
        "disk": {
            "artifacts": sum(count["bytes"] for count in artifacts),
            "manifest": _bytes_under(settings.manifest),
            "cache": _bytes_under(settings.projection_cache),
            "staging": _bytes_under(settings.staging),
            "trash": _bytes_under(settings.trash),
        },
    }


def _inbox(folder: Path) -> dict[str, Any]:
    sizes = list(_file_sizes(folder))
    return {"path": folder, "files": len(sizes), "bytes": sum(sizes)}


def _bytes_under(path: Path) -> int:
    return path.stat().st_size if path.is_file() else sum(_file_sizes(path))


def _file_sizes(folder: Path) -> Iterator[int]:
    """The sizes of all files below a folder; what vanishes meanwhile, or is not there, has none."""
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                yield (Path(parent) / name).stat().st_size
            except OSError:
                continue


def _facts(report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The status as flat records, for CSV and JSON lines."""
    yield {"section": "lake", "name": "path", "value": str(report["lake"])}
    yield {"section": "lake", "name": "newest_alert_day", "value": report["newest_alert_day"]}
    for count in report["artifacts"]:
        name = f"{count['artifact_type']}/{count['status']}"
        yield {"section": "artifacts", "name": name, "value": count["artifacts"]}
    for name, count in report["experiments"].items():
        yield {"section": "experiments", "name": name, "value": count}
    for name, inbox in report["inboxes"].items():
        yield {"section": "inboxes", "name": name, "value": inbox["files"]}
    if report["candle_database"] is not None:
        yield {"section": "candles", "name": "database", "value": report["candle_database"]}
    for name, count in report["disk"].items():
        yield {"section": "disk", "name": name, "value": count}


def _print(report: Mapping[str, Any]) -> None:
    target = console()
    lines = [f"Lake  {report['lake']}"]
    if not report["exists"]:
        lines.append(
            "      not there yet: `quantlab init` makes it, `quantlab demo` shows a full one"
        )
    lines.append(f"Calls up to  {report['newest_alert_day'] or 'none yet'}")
    experiments = [f"{count} {status}" for status, count in report["experiments"].items()]
    lines.append(f"Experiments  {', '.join(experiments) or 'none yet'}")
    for name, inbox in report["inboxes"].items():
        files = plural(inbox["files"], "file")
        lines.append(f"Inbox  {inbox['path']}: {files}, {size(inbox['bytes'])} ({name})")
    if report["candle_database"] is not None:
        lines.append(f"Candles  {report['candle_database']}")
    disk = [f"{name} {size(count)}" for name, count in report["disk"].items()]
    lines.append(f"On disk  {', '.join(disk)}")
    for line in lines:
        target.print(printable(line), markup=False, soft_wrap=True)
    if report["artifacts"]:
        write_table(report["artifacts"], ARTIFACT_COLUMNS, target)
