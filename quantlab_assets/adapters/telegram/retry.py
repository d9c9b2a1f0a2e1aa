"""Reads the kept bytes of unreadable records again, and makes an export of those that read now."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from quantlab_assets.adapters.telegram.json_export import NOT_UTF8, Chat, read_record
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


def original_bytes(row: Mapping[str, Any]) -> bytes | None:
    """The bytes of a record as they stood in the export; None if they are not kept."""
    text: str | None = row["text"]
    if text is None:
        return None
    if text.startswith(NOT_UTF8):
        return base64.b64decode(text.removeprefix(NOT_UTF8))
    return text.encode()


def read_again(rows: pl.DataFrame, rules: Rules) -> list[Retried]:
    """Try each row: a record (columns of `alerts_quarantine`, with `id`) by today's rules."""
    found = []
    for row in rows.iter_rows(named=True):
        raw = original_bytes(row)
        if raw is None or row["error_reason"].endswith(_CUT):
            reason = "its bytes are not all kept; ingest the export again"
            found.append(Retried(row["id"], b"", None, row["error_code"], reason))
            continue
        batch = read_record(Chat(row["chat_id"], None), raw, rules)
        if batch.messages.height:
            message = batch.messages.row(0, named=True)
            found.append(Retried(row["id"], raw, message, "", ""))
        else:
            refused = batch.unreadable.row(0, named=True)
            code, reason = refused["error_code"], refused["error_reason"]
            found.append(Retried(row["id"], raw, None, code, reason))
    return found


def as_exports(retried: list[Retried]) -> list[bytes]:
    """Exports of the records that read now, each with its original bytes: one a chat."""
    by_chat: dict[int, set[bytes]] = {}
    for one in retried:
        if one.message is not None:
            by_chat.setdefault(one.message["chat_id"], set()).add(one.raw)
    return [
        b'{"id": %d, "messages": [\n%b\n]}\n' % (chat, b",\n".join(sorted(raw)))
        for chat, raw in sorted(by_chat.items())
    ]
