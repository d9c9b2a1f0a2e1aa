"""Reads the kept bytes of unreadable records again, and makes an export of those that read now."""

import base64
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from quantlab_assets.adapters.telegram.export_folder import ReadingOptions
from quantlab_assets.adapters.telegram.html.export import HtmlExport
from quantlab_assets.adapters.telegram.html.structure import page_of
from quantlab_assets.adapters.telegram.json.decode import NOT_UTF8
from quantlab_assets.adapters.telegram.json.export import read_record
from quantlab_assets.adapters.telegram.json.rows import STAGED, UNREADABLE, Batch, Chat
from quantlab_assets.domain.telegram.clock.times import LABEL
from quantlab_assets.domain.telegram.rules import Rules

_CUT: Final = "are kept"
"""What the reason of a record ends in whose bytes are not all there."""


@dataclass(frozen=True, slots=True)
class Retried:
    """What became of one record: the message it is now, or (code, reason) why it still is none."""

    row_id: str
    raw: bytes
    message: Mapping[str, Any] | None
    code: str
    reason: str
    reading: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class RetriedExport:
    """An export made of records that read now: JSON, or a page with how it is to be read."""

    content: bytes
    options: ReadingOptions | None = None


def original_bytes(row: Mapping[str, Any]) -> bytes | None:
    """The bytes of a record as they stood in the export; None if they are not kept."""
    text: str | None = row["text"]
    if text is None:
        return None
    if text.startswith(NOT_UTF8):
        return base64.b64decode(text.removeprefix(NOT_UTF8))
    return text.encode()


def read_again(
    rows: pl.DataFrame, rules: Rules, readings: Mapping[str, Mapping[str, Any]] | None = None
) -> list[Retried]:
    """Try each row: a record (columns of `alerts_quarantine`, with `id` and `source`) by today's
    rules. `readings` says, by source, how the messages of an HTML export are read."""
    found = []
    for row in rows.iter_rows(named=True):
        raw = original_bytes(row)
        reading = (readings or {}).get(row["source"])
        if raw is None or row["error_reason"].endswith(_CUT):
            reason = "its bytes are not all kept; ingest the export again"
            found.append(Retried(row["id"], b"", None, row["error_code"], reason))
            continue
        if raw.startswith(b"<") and reading is not None:
            batch = _read_html(raw, rules, reading)
        else:
            batch = read_record(Chat(row["chat_id"], None), raw, rules)
        if batch.messages.height:
            message = batch.messages.row(0, named=True)
            found.append(Retried(row["id"], raw, message, "", "", reading))
        else:
            refused = batch.unreadable.row(0, named=True)
            code, reason = refused["error_code"], refused["error_reason"]
            found.append(Retried(row["id"], raw, None, code, reason))
    return found


def _read_html(raw: bytes, rules: Rules, reading: Mapping[str, Any]) -> Batch:
    with tempfile.TemporaryDirectory(prefix="quantlab-retry-") as folder:
        page = Path(folder) / "messages.html"
        page.write_bytes(page_of(reading["chat"]["name"], [raw]))
        export = HtmlExport([page], Path(folder), options=_options(reading), rules=rules)
        batches = list(export.batches())
    nothing = Batch(STAGED.to_frame(), UNREADABLE.to_frame())
    return Batch(
        pl.concat([nothing.messages, *(batch.messages for batch in batches)]),
        pl.concat([nothing.unreadable, *(batch.unreadable for batch in batches)]),
    )


def _options(reading: Mapping[str, Any]) -> ReadingOptions:
    """The clock and the chat that the export was read by, not judged anew from one record."""
    return ReadingOptions(reading["clock"]["zone"] or LABEL, reading["chat"]["chat_id"])


def as_exports(retried: list[Retried]) -> list[RetriedExport]:
    """Exports of the records that read now, each with its original bytes: of JSON one a chat, of
    HTML one for each clock and chat."""
    by_chat: dict[int, set[bytes]] = {}
    pages: dict[tuple[str, int, str], set[bytes]] = {}
    for one in retried:
        if one.message is None:
            continue
        chat_id = one.message["chat_id"]
        if one.reading is None:
            by_chat.setdefault(chat_id, set()).add(one.raw)
        else:
            title = one.reading["chat"]["name"] or ""
            key = (_options(one.reading).timezone, chat_id, title)
            pages.setdefault(key, set()).add(one.raw)
    found = [
        RetriedExport(b'{"id": %d, "messages": [\n%b\n]}\n' % (chat, b",\n".join(sorted(raw))))
        for chat, raw in sorted(by_chat.items())
    ]
    return found + [
        RetriedExport(page_of(title, sorted(raw)), ReadingOptions(timezone, chat_id))
        for (timezone, chat_id, title), raw in sorted(pages.items())
    ]
