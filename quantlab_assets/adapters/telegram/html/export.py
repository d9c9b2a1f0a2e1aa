"""Telegram Desktop's HTML export of one chat: all its pages, streamed one after the other.

The first pass reads every message into a disposable Arrow file with the time its clock showed, and
collects what tells which clock that was and which chat it is. Only then are times put into UTC
(`domain.telegram.clock.judge`) and rows made. A message becomes a row of `telegram_messages`, or a
row of `alerts_quarantine` with its original bytes. See docs/alerts.md.
"""

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa

from quantlab_assets.adapters.telegram.export_folder import ReadingOptions
from quantlab_assets.adapters.telegram.html.message import (
    Said,
    UnreadableError,
    read_message,
)
from quantlab_assets.adapters.telegram.html.structure import PageReader, Piece, Window
from quantlab_assets.adapters.telegram.html.template import READ
from quantlab_assets.adapters.telegram.html.text import entities_json, text_of, without_people
from quantlab_assets.adapters.telegram.json.decode import NOT_UTF8
from quantlab_assets.adapters.telegram.json.export import MAX_RECORD_BYTES
from quantlab_assets.adapters.telegram.json.rows import (
    MAX_KEPT,
    MAX_KEPT_AFTER,
    MAX_KEPT_IN_ALL,
    MAX_TEXT,
    STAGED,
    UNREADABLE,
    Batch,
)
from quantlab_assets.adapters.telegram.people import People
from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.telegram.clock.clock import Clock
from quantlab_assets.domain.telegram.clock.evidence import NONE, Seconds
from quantlab_assets.domain.telegram.clock.judge import read_clock
from quantlab_assets.domain.telegram.pseudonyms import Pseudonyms
from quantlab_assets.domain.telegram.rules import Rules, load_rules
from quantlab_assets.domain.time_us import SECOND_US

PARSER_VERSION: Final = "html-3"
INGEST_SOURCE: Final = "telegram_html"
RAW: Final = "raw.arrow"
"""The disposable file of the first pass, in the working folder."""

_BATCH_MESSAGES: Final = 20_000
_BATCH_CHARACTERS: Final = 4_000_000
_TITLE_ID: Final = 1 << 52
"""Ids made from titles begin here, far above Telegram's own."""
_RAW: Final = pl.Schema(
    {
        "page": pl.Int64(),
        "offset": pl.Int64(),
        "size": pl.Int64(),
        "message_id": pl.Int64(),
        "is_service": pl.Boolean(),
        "name": pl.String(),
        "forwarded_from": pl.String(),
        "reply_to_message_id": pl.Int64(),
        "text": pl.String(),
        "entities_json": pl.String(),
    }
)
_READ: Final = pl.Schema(
    {n: t for n, t in READ.items() if n != "at"}
    | {"page": pl.Int64(), "offset": pl.Int64(), "size": pl.Int64()}
)
_Inherited = tuple[str | None, str | None]
"""Sender, and author of a forward, of the message before."""
_ARROW: Final = pl.DataFrame(schema=_RAW).to_arrow().schema
_CHAT_LINK: Final = r"t\.me/c/(\d{1,15})/(?:\d+/)?(\d{1,18})"
_CALL_LINK: Final = r"call_-100(\d{1,15})_"


@dataclass(frozen=True, slots=True)
class ChatIdentity:
    """The chat an export is taken to be of. `basis` is `given`, `links` (found in the pages' own
    links) or `title` (made from the title)."""

    chat_id: int
    name: str | None
    basis: str

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know of it."""
        if self.basis != "title":
            return ()
        return (
            f"nothing in it tells the chat's id; it goes by {self.chat_id}, made from its title; "
            "give --chat-id before it is ingested to make it one with the chat's JSON export: what "
            "is ingested stays under the id it had",
        )


@dataclass(slots=True)
class _Refused:
    """A message that could not be read."""

    message_id: int | None
    name: str | None
    content: bytes
    size: int
    code: str
    reason: str


class HtmlExport:
    """The pages of one chat's export, in their order.

    Raises `ValidationFailed` naming the page if one is no export, or cut off; and if its clock
    cannot be told (see `read_clock`).
    """

    def __init__(
        self,
        pages: Sequence[Path],
        work: Path,
        *,
        options: ReadingOptions | None = None,
        rules: Rules | None = None,
        pseudonyms: Pseudonyms | None = None,
        max_record_bytes: int = MAX_RECORD_BYTES,
    ) -> None:
        self._pages = pages
        self._spool = work / RAW
        self._options = options or ReadingOptions()
        self._people = People(rules or load_rules(), pseudonyms)
        self._max_record_bytes = max_record_bytes
        self._title: str | None = None
        self._votes: Counter[tuple[bool, int]] = Counter()
        self._unreadable: list[_Refused] = []
        self._kept = 0
        self._services = pl.Series(dtype=pl.Int64)
        self._local: list[Seconds] = []
        self._label: list[Seconds] = []
        self._epoch: list[Seconds] = []
        self._read_pages()
        times = [
            np.concatenate([NO_TIMES, *parts]) for parts in (self._local, self._label, self._epoch)
        ]
        local, label = _filled(times[0]), _filled(times[1], since=times[0])
        if (local == NONE).any():
            local = np.where(local == NONE, 0, local)
        try:
            reading = read_clock(local, label, times[2], self._options.timezone)
        except ValidationFailed as error:
            raise ValidationFailed(f"{self._named()}: {error}") from error
        self._utc = np.where(_filled(times[0]) == NONE, NONE, reading.utc)
        self.clock: Clock = reading.clock
        self.chat = self._identity()

    def reading(self) -> dict[str, Any]:
        """How it is read, as plain values without people's names: what a record by itself needs."""
        chat_id, name = self._stored_chat()
        chat = {"chat_id": chat_id, "name": name, "basis": self.chat.basis}
        warnings = [] if self._people.pseudonyms is not None else list(self.chat.warnings)
        return {"clock": self.clock.document(), "chat": chat | {"warnings": warnings}}

    def _stored_chat(self) -> tuple[int | None, str | None]:
        personal = self.chat.basis != "links"
        return self._people.chat(self.chat.chat_id, self.chat.name, personal=personal)

    def batches(self) -> Iterator[Batch]:
        """The messages in batches of bounded size."""
        chat_id, name = self._stored_chat()
        done = 0
        nothing = UNREADABLE.to_frame()
        with pa.OSFile(str(self._spool), "rb") as file, pa.ipc.open_file(file) as spool:
            for number in range(spool.num_record_batches):
                raw = pl.DataFrame(spool.get_batch(number))
                utc = self._utc[done : done + raw.height]
                done += raw.height
                timed = raw.with_columns(
                    pl.Series("ts_utc", utc * SECOND_US).cast(STAGED["ts_utc"])
                )
                known = pl.Series(utc != NONE)
                late = self._without_time(timed.filter(~known)) if not known.all() else nothing
                yield Batch(self._rows(timed.filter(known), chat_id, name), late)
        yield Batch(STAGED.to_frame(), self._refused_rows(chat_id))

    def _named(self) -> str:
        return self._pages[0].name if len(self._pages) == 1 else self._pages[0].parent.name

    def _read_pages(self) -> None:
        before: _Inherited = (None, None)
        with pa.OSFile(str(self._spool), "wb") as file, pa.ipc.new_file(file, _ARROW) as spool:
            windows: list[pl.DataFrame] = []
            for number, path in enumerate(self._pages):
                with path.open("rb") as page:
                    reader = PageReader(
                        path.name, page, max_bytes=self._max_record_bytes, kept_bytes=MAX_KEPT
                    )
                    for window in reader.windows():
                        read, before = _inherited(self._read(window, number), before)
                        windows.append(read)
                        if _is_full(windows):
                            spool.write(self._take(pl.concat(windows)))
                            windows = []
                    if self._title is None:
                        self._title = reader.title
            spool.write(self._take(pl.concat([_READ.to_frame(), *windows])))

    def _read(self, window: Window, page: int) -> pl.DataFrame:
        """The messages of a window in their order, as they stand there."""
        rows: list[tuple[Any, ...]] = []
        for at, piece in window.others:
            try:
                said = _said(piece)
            except UnreadableError as why:
                self._refuse(piece, why)
                rows.append(_row(at, why.name))
                continue
            if said is not None:
                rows.append(_row(at, said.name, said))
        read = window.read
        if rows:
            others = pl.DataFrame(rows, READ, orient="row")
            read = pl.concat([read, others]).sort("at") if read.height else others
        if self._people.pseudonyms is not None:
            read = self._without_people(read)
        places = read["at"]
        return read.drop("at").with_columns(
            pl.lit(page, pl.Int64).alias("page"),
            pl.Series("offset", window.offsets, pl.Int64).gather(places),
            pl.Series("size", window.sizes, pl.Int64).gather(places),
        )

    def _without_people(self, read: pl.DataFrame) -> pl.DataFrame:
        linked = pl.col("markup").str.contains("<a", literal=True)
        markup = pl.col("markup").map_elements(
            lambda each: without_people(each, self._people.mention), pl.String
        )
        text = pl.col("markup").map_elements(text_of, pl.String)
        named, others = read.filter(linked), read.filter(~linked)
        renamed = named.with_columns(markup).with_columns(text.alias("text"))
        return pl.concat([others, renamed]).sort("at")

    def _take(self, frame: pl.DataFrame) -> pa.RecordBatch:
        """The messages so far, with text and entities; what tells clock and chat is set aside."""
        frame = frame.filter(pl.col("message_id").is_not_null())
        long = frame["text"].str.len_chars() > MAX_TEXT
        if long.any():
            for row in frame.filter(long).iter_rows(named=True):
                self._refuse_row(
                    row,
                    "oversized_text",
                    f"text has {len(row['text'])} characters, over {MAX_TEXT}",
                )
            frame = frame.filter(~long)
        self._vote(frame)
        self._services.append(frame.filter("is_service")["message_id"])
        for name, kept in (("local", self._local), ("label", self._label), ("epoch", self._epoch)):
            kept.append(frame[name].fill_null(NONE).to_numpy().astype(np.int64))
        entities = entities_json(frame["markup"], frame["buttons"])
        rows = frame.with_columns(entities.alias("entities_json")).select(_RAW.names())
        table = rows.to_arrow().cast(_ARROW).combine_chunks()
        batches = table.to_batches()
        return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=_ARROW)

    def _vote(self, frame: pl.DataFrame) -> None:
        """Count what links say of the chat: own ones for sure, others perhaps.

        Bots link a card to the message it answers, or to itself, and name the chat in their start
        parameters; any other link can lead to another chat.
        """
        if self._options.chat_id is not None:
            return
        with_links = (
            frame.lazy()
            .select("message_id", "reply_to_message_id", "markup", "buttons")
            .filter(
                pl.any_horizontal(
                    pl.col("markup", "buttons").str.contains_any(["t.me/c/", "call_-100"])
                )
            )
            .select(
                "message_id",
                "reply_to_message_id",
                pl.concat_str("markup", "buttons").alias("links"),
            )
            .collect()
        )
        if with_links.is_empty():
            return
        for own_id, reply_to, links in with_links.iter_rows():
            found = {(True, int(each)) for each in re.findall(_CALL_LINK, links)}
            for chat, message in re.findall(_CHAT_LINK, links):
                found.add((int(message) in (own_id, reply_to), int(chat)))
            self._votes.update(found)

    def _identity(self) -> ChatIdentity:
        if self._options.chat_id is not None:
            return ChatIdentity(self._options.chat_id, self._title, "given")
        sure = {chat: n for (own, chat), n in self._votes.items() if own}
        perhaps = {chat: n for (own, chat), n in self._votes.items() if not own}
        if sure:
            best = max(sorted(sure), key=lambda chat: sure[chat])
            if 2 * sure[best] > sum(sure.values()):
                return ChatIdentity(best, self._title, "links")
        elif len(perhaps) == 1:
            return ChatIdentity(next(iter(perhaps)), self._title, "links")
        title = " ".join((self._title or "").split())
        digest = hashlib.sha256(title.encode()).digest()
        made = _TITLE_ID | int.from_bytes(digest[:8], "big") % _TITLE_ID
        return ChatIdentity(made, self._title, "title")

    def _rows(self, raw: pl.DataFrame, chat_id: int | None, name: str | None) -> pl.DataFrame:
        """Rows of `STAGED`, with people named as they are stored."""
        senders = raw.select("name", "is_service").unique()
        stored = [
            (given, service, *self._people.sender(given, None, service=service))
            for given, service in senders.iter_rows()
        ]
        named = pl.DataFrame(
            stored,
            schema={
                "name": pl.String,
                "is_service": pl.Boolean,
                "sender_name": pl.String,
                "sender_id": pl.String,
                "sender_kind": pl.String,
            },
            orient="row",
        )
        authors = raw["forwarded_from"].drop_nulls().unique().to_list()
        renamed = {author: self._people.person(author) for author in authors}
        return (
            raw.with_columns(pl.col("forwarded_from").replace(renamed))
            .join(
                named,
                on=["name", "is_service"],
                how="left",
                nulls_equal=True,
                maintain_order="left",
            )
            .with_columns(
                pl.lit(chat_id, pl.Int64).alias("chat_id"),
                pl.lit(name, pl.String).alias("chat_name"),
                pl.lit(None, STAGED["edited_ts_utc"]).alias("edited_ts_utc"),
                pl.lit(None, pl.String).alias("author"),
                pl.lit(None, pl.String).alias("via_bot"),
                pl.col("reply_to_message_id")
                .is_in(self._services.implode())
                .alias("reply_to_service"),
                pl.lit(None, pl.Boolean).alias("has_buttons"),
                pl.lit(None, pl.Boolean).alias("has_reactions"),
                pl.lit(INGEST_SOURCE).alias("ingest_source"),
            )
            .select(STAGED.names())
        )

    def _refuse(self, piece: Piece, why: UnreadableError) -> None:
        self._unreadable.append(
            _Refused(
                why.message_id, why.name, *self._keep(piece.content, piece.size), why.code, str(why)
            )
        )

    def _refuse_row(self, row: dict[str, Any], code: str, reason: str) -> None:
        with self._pages[row["page"]].open("rb") as page:
            page.seek(row["offset"])
            content = page.read(min(row["size"], MAX_KEPT))
        self._unreadable.append(
            _Refused(
                row["message_id"], row["name"], *self._keep(content, row["size"]), code, reason
            )
        )

    def _keep(self, content: bytes, size: int) -> tuple[bytes, int]:
        if self._people.pseudonyms is not None:
            return b"", size
        limit = MAX_KEPT if self._kept < MAX_KEPT_IN_ALL else MAX_KEPT_AFTER
        kept = content[:limit]
        self._kept += len(kept)
        return kept, size

    def _without_time(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Messages at times that the clock never showed."""
        clock = self.clock.zone
        why = f"{clock} never showed its time" if clock else "its time has no UTC offset"
        for row in rows.iter_rows(named=True):
            self._refuse_row(row, "bad_date", why)
        return UNREADABLE.to_frame()

    def _refused_rows(self, chat_id: int | None) -> pl.DataFrame:
        rows = [self._refused_row(chat_id, one) for one in self._unreadable]
        return pl.DataFrame(rows, schema=UNREADABLE, orient="row")

    def _refused_row(self, chat_id: int | None, one: _Refused) -> tuple[Any, ...]:
        sender = None
        if one.name is not None:
            sender, _, _ = self._people.sender(one.name, None, service=False)
        text: str | None = None
        reason = one.reason
        if self._people.pseudonyms is not None:
            reason += "; its bytes are not kept, since names are replaced by pseudonyms"
        else:
            text = _as_text(one.content)
            if len(one.content) < one.size:
                reason += f"; only its first {len(one.content)} bytes of {one.size} are kept"
        return (chat_id, one.message_id, None, sender, text, one.code, reason)


NO_TIMES: Final[Seconds] = np.empty(0, np.int64)


def _said(piece: Piece) -> Said | None:
    if piece.node is None:
        code, reason = piece.why or ("unknown_shape", "the record is no message")
        raise UnreadableError(code, reason)
    return read_message(piece.node, piece.attributes)


def _row(at: int, name: str | None, said: Said | None = None) -> tuple[Any, ...]:
    """A row of `READ`; of a message that could not be read only its place and sender."""
    if said is None:
        return (at, None, False, False, None, None, name, None, False, None, "", "", "", None)
    return (
        at,
        said.message_id,
        said.service,
        said.joined,
        said.local,
        said.label,
        name,
        said.reply_to,
        said.forwarded,
        said.forwarded_from,
        said.text,
        said.markup,
        said.buttons,
        None if said.forwarded else said.epoch,
    )


def _is_full(windows: list[pl.DataFrame]) -> bool:
    if sum(each.height for each in windows) >= _BATCH_MESSAGES:
        return True
    characters = sum(each["size"].sum() for each in windows)
    return bool(characters >= _BATCH_CHARACTERS)


def _inherited(read: pl.DataFrame, before: _Inherited) -> tuple[pl.DataFrame, _Inherited]:
    """A window's messages, with those joined to the one before as of its sender, and a forward
    among them as of its author; and what the next window inherits."""
    if read.is_empty():
        return read, before
    same_sender = pl.col("joined") & pl.col("name").is_null()
    same_author = pl.col("joined") & pl.col("forwarded") & pl.col("forwarded_from").is_null()
    found = read.with_columns(
        _from_above("name", same_sender, before[0]),
        _from_above("forwarded_from", same_author, before[1]),
    )
    last = found.tail(1)
    return found, (last["name"].item(), last["forwarded_from"].item())


def _from_above(column: str, same: pl.Expr, before: str | None) -> pl.Expr:
    """The column, where it is the `same` as above taken from the nearest row where it is not."""
    row = pl.when(~same).then(pl.int_range(pl.len())).forward_fill()
    return (
        pl.when(row.is_null())
        .then(pl.lit(before, pl.String))
        .otherwise(pl.col(column).gather(row.fill_null(0)))
        .alias(column)
    )


def _filled(values: Seconds, since: Seconds | None = None) -> Seconds:
    """The values with those of service messages, which have none, taken from the message before
    (of the first, from the one after). With `since`, only where that has none."""
    series = pl.Series(values, dtype=pl.Int64)
    missing = pl.Series((values if since is None else since) == NONE)
    known = pl.select(pl.when(~missing).then(series)).to_series()
    filled = known.fill_null(strategy="forward").fill_null(strategy="backward").fill_null(NONE)
    found: Seconds = filled.to_numpy().astype(np.int64)
    return found


def _as_text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return NOT_UTF8 + base64.b64encode(content).decode()
