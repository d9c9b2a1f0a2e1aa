"""Figures of ingestion: `python -m quantlab_tests.benchmarks alerts [--quick | --full]`.

The whole path of an export (parse into the spool, a day's messages, its alerts, day by day) against
the bare streaming parse of the same file with ijson, and against `json.loads` of the same records
when somebody has cut them out already. Exports are synthetic: the messages of the sample over and
over with other ids and times, of one chat or of an account with 50. Variants take turns; a ratio is
the median of the ratios of the rounds. Peak memory is that of a process of its own, with imports.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import ijson
import polars as pl

from quantlab_assets.adapters.telegram.inbox import TelegramInbox
from quantlab_assets.adapters.telegram.json.structure import (
    ACCOUNT_LEVEL,
    CHAT_LEVEL,
    RecordSplitter,
)
from quantlab_assets.domain.telegram.frames import MESSAGES
from quantlab_assets.domain.telegram.rules import Rules, load_rules
from quantlab_assets.handlers.ingest.alerts import alerts_of_days, days_at_once
from quantlab_assets.handlers.ingest.messages import messages_of_day
from quantlab_assets.sample import sample_path
from quantlab_tests.benchmarks.simulation import show, take_turns

MIB = 1 << 20
CHATS = 50
PACE_S = 60
"""Seconds between two messages of a chat: 1,440 a day, as in a busy group."""
START = 1_735_689_600
LIMIT = 512 * MIB


def write_export(path: Path, size: int, *, account: bool) -> int:
    """Write an export of about `size` bytes; returns its number of messages."""
    sample = json.loads((sample_path() / "telegram" / "result.json").read_text("utf-8"))
    chats = CHATS if account else 1
    written = 0
    with path.open("w", encoding="utf-8") as file:
        file.write('{"about": "synthetic", "chats": {"list": [' if account else "")
        for chat in range(chats):
            header = json.dumps({"name": f"chat {chat}", "type": "private_group", "id": chat + 1})
            file.write(("," if chat else "") + header[:-1] + ', "messages": [\n')
            end = size * (chat + 1) // chats
            for number, record in enumerate(_endless(sample["messages"], START + chat * 86_400)):
                file.write(
                    (",\n" if number else "") + json.dumps(record, ensure_ascii=False, indent=1)
                )
                written += 1
                if number % 100 == 0 and file.tell() >= end:
                    break
            file.write("\n]}")
        file.write("]}}" if account else "")
    return written


def _endless(messages: list[dict[str, Any]], start: int) -> Iterator[dict[str, Any]]:
    """The sample's messages again and again, later and with other ids; replies stay replies."""
    first, count = messages[0]["id"], len(messages)
    place = {message["id"]: at for at, message in enumerate(messages)}
    turn = 0
    while True:
        for at, message in enumerate(messages):
            now = start + (turn * count + at) * PACE_S
            changed = {"id": first + turn * count + at, "date_unixtime": str(now)}
            if "edited_unixtime" in message:
                changed["edited_unixtime"] = str(now + 30)
            if message.get("reply_to_message_id") in place:
                changed["reply_to_message_id"] = (
                    first + turn * count + place[message["reply_to_message_id"]]
                )
            yield message | changed
        turn += 1


def whole_path(folder: Path) -> dict[str, int]:
    """All of it, into a fresh spool; returns counts."""
    rules = load_rules()
    counts = {"days": 0, "messages": 0, "alerts": 0}
    with tempfile.TemporaryDirectory(dir=folder.parent) as spool:
        source = TelegramInbox(folder, Path(spool), rules=rules)
        read: list[tuple[date, pl.DataFrame]] = []
        for day in sorted({day for export in source.exports() for day in export.days}):
            read.append((day, _messages(source, day, rules)))
            if days_at_once(frame.height for _, frame in read) < len(read):
                _extract(read[:-1], read[-1:], rules, counts)
                read = read[-1:]
        _extract(read, [], rules, counts)
    return counts


def _extract(
    read: list[tuple[date, pl.DataFrame]],
    ahead: list[tuple[date, pl.DataFrame]],
    rules: Rules,
    counts: dict[str, int],
) -> None:
    days = [day for day, _ in read]
    messages = pl.concat([frame for _, frame in (*read, *ahead)])
    for found in alerts_of_days(days, messages, rules).values():
        counts["alerts"] += sum(draft.table.num_rows for draft in found.alerts.drafts)
    counts["days"] += len(days)
    counts["messages"] += sum(frame.height for _, frame in read)


def _messages(source: TelegramInbox, day: date, rules: Rules) -> pl.DataFrame:
    drafts = messages_of_day(source, day, rules).build({}).drafts
    tables = [pl.DataFrame(draft.table) for draft in drafts]
    return pl.concat([MESSAGES.to_frame(), *tables]) if tables else MESSAGES.to_frame()


def bare_parse(path: Path, *, account: bool) -> int:
    """Every record as Python objects by ijson, and nothing else."""
    prefix = "chats.list.item.messages.item" if account else "messages.item"
    with path.open("rb") as file:
        return sum(1 for _ in ijson.items(file, prefix, use_float=True))


def cut_and_load(path: Path, *, account: bool) -> int:
    """Every record as Python objects by `json.loads`, from the same cutting as the real path."""
    level = ACCOUNT_LEVEL if account else CHAT_LEVEL
    splitter = RecordSplitter(level, max_bytes=1 << 25, kept_bytes=0)
    found = 0
    with path.open("rb") as file:
        while chunk := file.read(MIB):
            for record in splitter.feed(chunk)[1]:
                assert isinstance(record, bytes)
                json.loads(record)
                found += 1
    return found


def compare(folder: Path, size: int, rounds: int, *, account: bool) -> None:
    """Time the variants over one synthetic export."""
    inbox = folder / ("account" if account else "chat")
    inbox.mkdir()
    path = inbox / "result.json"
    messages = write_export(path, size, account=account)
    variants: dict[str, Callable[[], object]] = {
        "whole path": lambda: whole_path(inbox),
        "bare parse by ijson": lambda: bare_parse(path, account=account),
        "cut and json.loads": lambda: cut_and_load(path, account=account),
    }
    timings = take_turns(variants, rounds)
    kind = f"account of {CHATS} chats" if account else "single chat"
    show(
        f"{kind}: {path.stat().st_size / MIB:,.0f} MiB, {messages:,} messages",
        timings,
        {
            "whole path / bare parse": ("whole path", "bare parse by ijson", "at most 3"),
            "whole path / cut and json.loads": ("whole path", "cut and json.loads", "for scale"),
        },
    )
    path.unlink()


def measure_memory(folder: Path, size: int, *, account: bool) -> None:
    """Peak memory of the whole path in a process of its own."""
    inbox = folder / f"memory-{account}"
    inbox.mkdir()
    path = inbox / "result.json"
    messages = write_export(path, size, account=account)
    done = subprocess.run(
        [sys.executable, "-m", "quantlab_tests.benchmarks", "alerts", "--path-of", str(inbox)],
        capture_output=True,
        text=True,
        check=True,
    )
    peak, seconds = map(float, done.stdout.split())
    kind = "account" if account else "single chat"
    print(
        f"  {kind}, {path.stat().st_size / MIB:,.0f} MiB, {messages:,} messages: peak "
        f"{peak / MIB:,.0f} MiB (at most {LIMIT / MIB:,.0f}), {seconds:,.1f} s"
    )
    path.unlink()


def main(argv: list[str]) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="alerts", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small exports, one round")
    parser.add_argument("--full", action="store_true", help="memory with exports of 1 GiB")
    parser.add_argument("--path-of", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args(argv)
    if chosen.path_of is not None:
        whole_path(chosen.path_of)
        used = resource.getrusage(resource.RUSAGE_SELF)
        print(used.ru_maxrss * 1024, used.ru_utime + used.ru_stime)
        return
    size, rounds = (4 * MIB, 1) if chosen.quick else (64 * MIB, 3)
    with tempfile.TemporaryDirectory(prefix="quantlab-alerts-") as folder:
        for account in (False, True):
            compare(Path(folder), size, rounds, account=account)
        print("\npeak memory of the whole path")
        for account in (False, True):
            large = 1024 * MIB if chosen.full else 2 * size
            measure_memory(Path(folder), large, account=account)
