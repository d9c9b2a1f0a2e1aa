"""Prints what an ingestion came to: for people, as one document, as flat facts."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from quantlab_assets.cli.ingest.outcome import Ingestion
from quantlab_assets.cli.shell.output import Column, plural, printable, write_table

if TYPE_CHECKING:
    from rich.console import Console

_IGNORED, _QUARANTINED, _KNOWN = "ignored_", "quarantined_", "known_"
_CHAT_FROM = {"given": "--chat-id or its TOML", "links": "its links", "title": "its title"}
_COUNTS = (Column("what"), Column("count", show=lambda n: f"{n:,}", right=True))


def as_document(ingestion: Ingestion) -> dict[str, Any]:
    """The ingestion as one JSON object. Figures are of whole days: of all that the lake holds of
    the days, not only of these files."""
    return {
        "dry_run": ingestion.dry_run,
        "files": list(ingestion.files),
        "days": list(ingestion.days),
        "days_left_out": list(ingestion.left_out),
        "messages": _messages(ingestion.counts),
        "alerts": ingestion.counts.get("alerts", 0),
        "known": _listed(_by(ingestion.counts, _KNOWN), "basis"),
        "ignored": _listed(_by(ingestion.counts, _IGNORED), "reason"),
        "quarantined": _listed(_by(ingestion.counts, _QUARANTINED), "code"),
        "unreadable": _listed(ingestion.unreadable, "code"),
        "artifacts": {"new": ingestion.new_artifacts, "deduped": ingestion.deduped_artifacts},
    }


def facts(ingestion: Ingestion) -> Iterator[dict[str, Any]]:
    """The ingestion as flat records, for CSV and JSON lines."""
    for file in ingestion.files:
        state = "held" if file["held"] else "new"
        yield {"section": "files", "name": str(file["path"]), "value": state}
        if "clock" in file:
            clock = file["clock"]["zone"] or "labels"
            yield {"section": "clocks", "name": str(file["path"]), "value": clock}
    yield {"section": "days", "name": "days", "value": len(ingestion.days)}
    for section, counts in (
        ("messages", _messages(ingestion.counts)),
        ("alerts", {"alerts": ingestion.counts.get("alerts", 0)}),
        ("known", _by(ingestion.counts, _KNOWN)),
        ("ignored", _by(ingestion.counts, _IGNORED)),
        ("quarantined", _by(ingestion.counts, _QUARANTINED)),
        ("unreadable", ingestion.unreadable),
        ("artifacts", {"new": ingestion.new_artifacts, "deduped": ingestion.deduped_artifacts}),
    ):
        for name, value in counts.items():
            yield {"section": section, "name": name, "value": value}


def reading_of(reading: Mapping[str, Any]) -> dict[str, Any]:
    """How an export was read that does not say it itself: its clock and its chat."""
    if not reading:
        return {}
    return {
        "clock": reading["clock"],
        "chat_id": reading["chat"]["chat_id"],
        "chat_id_from": reading["chat"]["basis"],
    }


def warnings_of(reading: Mapping[str, Any]) -> list[str]:
    """What the user should know of how an export was read."""
    return [
        each for part in ("clock", "chat") for each in reading.get(part, {}).get("warnings", [])
    ]


def clock_line(clock: Mapping[str, Any]) -> str:
    """The clock an export was read by, and what speaks for it, in one line."""
    named = clock["zone"] or f"labels {', '.join(clock['labels']) or 'none'}"
    if clock["callbacks"]:
        days = sorted(day for part in clock["evidence"] for day in (part["from"], part["to"]))
        span = f", {days[0]} to {days[-1]}" if days else ""
        share = f"{clock['agreeing']:,} of {clock['callbacks']:,} bots' buttons agree"
        evidence = f"{share} ({clock['share']:.0%}{span})"
    elif clock["basis"] == "inferred":
        evidence = "by cards refreshed before their labels say they were posted"
    else:
        evidence = "no bot's button tells"
    labels = ""
    if clock["zone"] and clock["labels"]:
        labels = f"; labelled {', '.join(clock['labels'])}"
    return f"clock: {named}, {clock['basis']}, {evidence}{labels}"


def report(ingestion: Ingestion, target: "Console") -> None:
    """Print the summary for people."""
    would = "would be " if ingestion.dry_run else ""
    for file in ingestion.files:
        state = f"held already as {file['inbox']}" if file["held"] else f"{would}copied"
        bad = f", {file['unreadable']:,} unreadable" if file["unreadable"] else ""
        pages = f" on {file['pages']:,} pages" if file["pages"] > 1 else ""
        records = f"{file['records']:,} records{pages}{bad}"
        line = f"{file['path']}: {records}, {plural(file['days'], 'day')}"
        target.print(printable(f"{line}; {state}"), markup=False, soft_wrap=True)
        if "clock" in file:
            target.print(f"  {clock_line(file['clock'])}", markup=False, soft_wrap=True)
            chat = f"  chat: {file['chat_id']}, from {_CHAT_FROM[file['chat_id_from']]}"
            target.print(chat, markup=False, soft_wrap=True)
    if not ingestion.days:
        unreadable = _rows("unreadable records: ", ingestion.unreadable)
        if unreadable:
            write_table(unreadable, _COUNTS, target)
        else:
            target.print("No messages in these days: nothing to run.", markup=False)
        return
    span = f"{ingestion.days[0]} to {ingestion.days[-1]} (UTC)"
    target.print(f"{plural(len(ingestion.days), 'day')} {would}run: {span}", markup=False)
    messages = _messages(ingestion.counts)
    rows = [
        {"what": "messages seen", "count": messages["seen"]},
        {"what": "service", "count": messages["service"]},
        {"what": "calling", "count": messages["calling"]},
        {"what": "quarantined", "count": messages["quarantined"]},
        *_rows("ignored: ", _by(ingestion.counts, _IGNORED)),
        {"what": "alerts", "count": ingestion.counts.get("alerts", 0)},
        *_rows("known: ", _by(ingestion.counts, _KNOWN)),
        *_rows("quarantine rows: ", _by(ingestion.counts, _QUARANTINED)),
        *_rows("unreadable records: ", ingestion.unreadable),
        {"what": f"artifacts {would}new", "count": ingestion.new_artifacts},
        {"what": "artifacts there already", "count": ingestion.deduped_artifacts},
    ]
    write_table(rows, _COUNTS, target)


def _messages(counts: Mapping[str, int]) -> dict[str, int]:
    names = {"seen": "messages_seen"} | {n: n for n in ("service", "calling", "quarantined")}
    return {name: counts.get(count, 0) for name, count in names.items()} | {
        "ignored": counts.get("ignored", 0)
    }


def _by(counts: Mapping[str, int], prefix: str) -> dict[str, int]:
    return {
        name.removeprefix(prefix): counts[name]
        for name in sorted(counts)
        if name.startswith(prefix)
    }


def _listed(counts: Mapping[str, int], name: str) -> list[dict[str, Any]]:
    return [{name: key, "count": counts[key]} for key in sorted(counts)]


def _rows(title: str, counts: Mapping[str, int]) -> list[dict[str, Any]]:
    return [{"what": f"{title}{name}", "count": counts[name]} for name in sorted(counts)]
