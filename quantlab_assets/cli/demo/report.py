"""Prints what the demo found: for people, and as one document for programs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from quantlab_assets.cli.demo.findings import Findings, Record
from quantlab_assets.cli.shell.output import (
    Column,
    number,
    percent,
    plural,
    printable,
    write_table,
)
from quantlab_assets.domain.coverage.counts import GRADE_COUNTED, HEAT_MAP_HORIZON_H

if TYPE_CHECKING:
    from rich.console import Console

ARTIFACT_COLUMNS = tuple(
    Column(name)
    for name in (
        "artifact_id",
        "artifact_type",
        "schema_version",
        "logical_key",
        "status",
        "content_hash",
        "row_count",
    )
)


def _count(value: float) -> str:
    return f"{value:,.0f}"


_INGESTED = (
    Column("what"),
    Column("rows", show=_count, right=True),
    Column("artifacts", show=_count, right=True),
    Column("artifact_type"),
)
_CALLERS = (
    Column("caller"),
    Column("calls", show=_count, right=True),
    Column("trades", show=_count, right=True),
    Column("win_rate", show=percent, right=True),
    Column("median_return", show=percent, right=True),
    Column("net_pnl", show=number, right=True),
)
_COVERAGE = (
    Column("caller"),
    Column("calls", show=_count, right=True),
    *(Column(name, show=_count, right=True) for name in GRADE_COUNTED),
    Column("mean_coverage", show=percent, right=True),
)
_UNTRADED = (Column("reason"), Column("calls", show=_count, right=True), Column("for_example"))
_MESSAGES = (Column("time"), Column("message"), Column("sender"), Column("why"), Column("text"))
_CANDLES = (Column("file"), Column("rows", show=_count, right=True), Column("why"))


def report(findings: Findings, target: "Console") -> None:
    """Print everything, for people."""
    lake = findings.settings.lake

    def line(text: str = "") -> None:
        target.print(printable(text), markup=False, soft_wrap=True)

    def section(
        title: str, rows: Sequence[Record], columns: Sequence[Column], nothing: str
    ) -> None:
        if rows:
            write_table(rows, columns, target, title=title)
        else:
            line(title)
            line(f"  {nothing}")
            line()

    days = f"{plural(len(findings.days), 'day')} with messages"
    line(f"{plural(findings.new_artifacts, 'new artifact')} in {lake}, {days}")
    if findings.new_artifacts == 0:
        line("Everything was there already: the same inputs give the same artifacts.")
    line()
    section("What was read", findings.ingested, _INGESTED, "nothing")
    section("What following each caller came to", _callers(findings), _CALLERS, "no calls")
    line(f"  {_strategy_line(findings)}")
    line()
    section("Calls that did not trade", _untraded(findings), _UNTRADED, "none")
    section(
        f"How much of the {HEAT_MAP_HORIZON_H} h after each call the candles cover",
        _coverage(findings),
        _COVERAGE,
        "no calls",
    )
    section("Messages refused", _messages(findings), _MESSAGES, "none")
    section("Candle files refused, in whole or by row", _candles(findings), _CANDLES, "none")
    line("Where things are")
    line(f"  artifacts  {findings.settings.artifacts_root}")
    line(f"  manifest   {findings.settings.manifest}")
    line(f"  inboxes    {findings.settings.telegram_inbox}")
    line(f"             {findings.settings.candles_shown}")
    line(f"  projection {findings.settings.projection_cache} (disposable)")
    line()
    line(
        "The sample is small, reconstructed and pseudonymised: it shows the lab, no caller's worth."
    )
    line()
    line("What to do next")
    line(f"  quantlab ui --lake {lake}        the graph, its runs and lineage in the browser")
    line(f"  quantlab status --lake {lake}    what the lake holds")
    line(f"  quantlab demo --lake {lake}      again: it adds nothing")


def as_document(findings: Findings) -> dict[str, Any]:
    """Everything as one JSON object; `artifacts` with their content hashes."""
    return {
        "lake": findings.settings.lake,
        "new_artifacts": findings.new_artifacts,
        "experiment_id": findings.experiment_id,
        "days": findings.days,
        "ingested": findings.ingested,
        "overall": findings.overall,
        "callers": findings.callers,
        "untraded": findings.untraded,
        "coverage": findings.coverage,
        "refused_messages": findings.refused_messages,
        "refused_candles": findings.refused_candles,
        "artifacts": artifact_records(findings),
    }


def artifact_records(findings: Findings) -> list[dict[str, Any]]:
    """The artifacts of the lake, by type and key."""
    return [
        {column.name: getattr(artifact, column.name) for column in ARTIFACT_COLUMNS}
        for artifact in findings.artifacts
    ]


def _callers(findings: Findings) -> list[Record]:
    everybody = {**findings.overall, "scope_value": "all callers"}
    return [
        {
            "caller": row["scope_value"],
            "calls": row["alerts_seen"],
            "trades": row["total_trades"],
            "win_rate": row["win_rate"],
            "median_return": row["median_return"],
            "net_pnl": row["total_net_pnl"],
        }
        for row in [*findings.callers, everybody]
    ]


def _strategy_line(findings: Findings) -> str:
    return (
        "Stop 30 %, half out at 2x, a quarter at 4x, the rest after 24 h; stake 1 a call, costs "
        f"included. Experiment {findings.experiment_id}."
    )


def _untraded(findings: Findings) -> list[Record]:
    return [
        {"reason": row["code"], "calls": row["alerts"], "for_example": row["message"]}
        for row in findings.untraded
    ]


def _coverage(findings: Findings) -> list[Record]:
    return [
        {
            "caller": row["caller_name_norm"],
            "calls": row["alerts"],
            **{name: row[name] for name in GRADE_COUNTED},
            "mean_coverage": row["mean_ratio"],
        }
        for row in findings.coverage
    ]


def _messages(findings: Findings) -> list[Record]:
    return [
        {
            "time": row["ts_utc"].strftime("%Y-%m-%d %H:%M") if row["ts_utc"] else None,
            "message": row["message_id"],
            "sender": row["sender_name"],
            "why": f"{row['error_code']}: {row['error_reason']}",
            "text": row["text"],
        }
        for row in findings.refused_messages
    ]


def _candles(findings: Findings) -> list[Record]:
    return [
        {
            "file": row["file"],
            "rows": row["rows"],
            "why": f"{row['error_code']}: {row['error_reason']}",
        }
        for row in findings.refused_candles
    ]
