"""Figures of HTML exports: `python -m quantlab_tests.benchmarks html [--quick | --full]`.

Reading the pages of an export (every message with its text, entities and times in UTC) against the
bare parse of the same pages by the same library, selectolax's lexbor, each page as a whole; and
the same with writing the spool. Exports are synthetic: the messages of the sample's pages over and
over with other ids and times, 1,000 a page as Telegram Desktop writes them, once as they are (every
third is a bot's card of 5 kB) and once without cards. Each variant runs in a process of its own,
since trees that one of them has freed would spare the other the page faults; its time is without
imports, after an untimed run. Variants take turns; a ratio is the median of the ratios of the
rounds. Peak memory is that of a process of its own, with imports.
"""

import argparse
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from selectolax.lexbor import LexborHTMLParser

from quantlab_assets.adapters.telegram.export_folder import in_page_order
from quantlab_assets.adapters.telegram.html.export import HtmlExport
from quantlab_assets.adapters.telegram.inbox import TelegramInbox
from quantlab_assets.sample import sample_path
from quantlab_tests.benchmarks._turns import show

MIB = 1 << 20
PAGE_MESSAGES = 1_000
START = 1_735_689_600
PACE_S = 60
SHORT = 1_500
"""Bytes of a message that holds no card."""
LIMIT = 512 * MIB


def write_export(folder: Path, size: int, *, cards: bool) -> int:
    """Write pages of about `size` bytes in all; returns their number of messages."""
    page = (sample_path() / "telegram" / "messages46.html").read_bytes()
    head, rest = page.split(b'<a class="pagination', 1)
    parts = re.split(rb'(?=<div class="message default)', rest.split(b"</a>", 1)[1])[1:]
    end = parts[-1].index(b"\n\n    </div>\n\n   </div>")
    parts[-1], tail = parts[-1][:end], parts[-1][end:]
    messages = [each for each in parts if cards or len(each) < SHORT]
    folder.mkdir()
    number = written = 0
    for sheet in range(1, 1 << 30):
        name = f"messages{'' if sheet == 1 else sheet}.html"
        with (folder / name).open("wb") as file:
            file.write(head)
            for _ in range(PAGE_MESSAGES):
                file.write(_later(messages[number % len(messages)], number))
                number += 1
            file.write(tail)
            written += file.tell()
        if written >= size:
            return number
    raise AssertionError


def _later(message: bytes, number: int) -> bytes:
    """The message with another id, time and epoch, as a clock in UTC would write them."""
    moment = START + number * PACE_S
    title = f'title="{datetime.fromtimestamp(moment, UTC):%d.%m.%Y %H:%M:%S} UTC+00:00"'.encode()
    message = re.sub(rb'id="message\d+"', b'id="message%d"' % (number + 1), message, count=1)
    message = re.sub(rb'title="\d\d\.[^"]*"', title, message, count=1)
    return re.sub(rb":17\d{8}\b", b":%d" % moment, message)


def read(folder: Path) -> int:
    """Every message of the pages; returns how many."""
    pages = in_page_order(list(folder.iterdir()))
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        return sum(one.messages.height for one in HtmlExport(pages, Path(work)).batches())


def into_spool(folder: Path) -> int:
    """The same into a fresh spool, as an inbox does at the first look; returns the records."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as spool:
        [export] = TelegramInbox(folder, Path(spool)).exports()
        return export.records


def bare_parse(folder: Path) -> int:
    """Every page as a tree, and nothing else."""
    parsed = 0
    for page in in_page_order(list(folder.iterdir())):
        parsed += LexborHTMLParser(page.read_bytes()).body is not None
    return parsed


VARIANTS: dict[str, Callable[[Path], object]] = {
    "read the messages": read,
    "read into the spool": into_spool,
    "bare parse by selectolax": bare_parse,
}


def compare(folder: Path, size: int, rounds: int, *, cards: bool) -> None:
    """Time the variants over one synthetic export."""
    pages = folder / ("cards" if cards else "plain")
    messages = write_export(pages, size, cards=cards)
    assert read(pages) == messages
    written = sum(page.stat().st_size for page in pages.iterdir())
    timings: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for _ in range(rounds):
        for name in VARIANTS:
            timings[name].append(float(_own_process("--variant", name, str(pages))))
    kind = "as the sample, with bots' cards" if cards else "without cards"
    show(
        f"{kind}: {written / MIB:,.0f} MiB, {messages:,} messages",
        timings,
        {
            "read / bare parse": ("read the messages", "bare parse by selectolax", "at most 3"),
            "into the spool / bare parse": (
                "read into the spool",
                "bare parse by selectolax",
                "for scale",
            ),
        },
    )
    for name, seconds in timings.items():
        rate = written / MIB / sorted(seconds)[len(seconds) // 2]
        print(f"  {name:<58}{rate:>10.0f} MiB/s")


def measure_memory(folder: Path, size: int) -> None:
    """Peak memory of reading into the spool, in a process of its own."""
    pages = folder / "memory"
    messages = write_export(pages, size, cards=True)
    peak = _own_process("--spool", str(pages))
    print(
        f"\npeak memory with {size / MIB:,.0f} MiB, {messages:,} messages: "
        f"{float(peak) / MIB:,.0f} MiB (at most {LIMIT / MIB:,.0f})"
    )


def _own_process(*arguments: str) -> str:
    """What this benchmark prints when it is run with the arguments."""
    command = [sys.executable, "-m", "quantlab_tests.benchmarks", "html", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def main(argv: list[str]) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="html", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small exports, one round")
    parser.add_argument("--full", action="store_true", help="memory with an export of 1 GiB")
    parser.add_argument("--spool", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--variant", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args(argv)
    if chosen.variant is not None:
        run, pages = VARIANTS[chosen.variant[0]], Path(chosen.variant[1])
        run(pages)
        begun = time.perf_counter()
        run(pages)
        print(time.perf_counter() - begun)
        return
    if chosen.spool is not None:
        into_spool(chosen.spool)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        return
    size, rounds = (8 * MIB, 1) if chosen.quick else (48 * MIB, 3)
    with tempfile.TemporaryDirectory(prefix="quantlab-html-") as folder:
        for cards in (True, False):
            compare(Path(folder), size, rounds, cards=cards)
        measure_memory(Path(folder), 1024 * MIB if chosen.full else 2 * size)
