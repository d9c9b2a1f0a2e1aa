"""One ClickHouse: its client, opened on first use, its answers as whole Arrow tables, its errors
in one line without secrets."""

import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import pyarrow as pa

from quantlab_assets.domain.dsn import secrets_of, without_secrets
from quantlab_assets.domain.errors import (
    NotFound,
    QuantlabError,
    StoreUnavailable,
    ValidationFailed,
)

EXTRA: Final = "pip install 'quantlab-assets[clickhouse-embedded]'"
PAUSES_S: Final = (0.2, 1.0, 4.0)
"""Between the attempts to reach a server that does not answer, or whose answer breaks off."""

_WRONG_CREDENTIALS: Final = frozenset({192, 193, 194, 516})
_FORBIDDEN: Final = frozenset({164, 497})
_NO_TABLE: Final = 60
_NO_DATABASE: Final = 81
_END_OF_STREAM: Final = b"\xff\xff\xff\xff\x00\x00\x00\x00"
_LONGEST: Final = 300
_NOISE: Final = re.compile(r" \(for url [^)]*\)| \(version .*\)$| \([A-Z_]+\)(?= |$)")

T = TypeVar("T")


class BrokenAnswerError(Exception):
    """An answer that ended before it was whole."""


class Connection:
    """A ClickHouse by its DSN: `clickhouse://` and `clickhouses://` (HTTP, HTTPS), `chdb://`.

    Nothing is imported or opened before the first question. What fails on the way to the server is
    asked again after `pauses` in seconds (`PAUSES_S`); what the server refuses is not, nor what it
    stays silent to for as long as the driver waits (300 s, or the DSN's `send_receive_timeout`).
    """

    def __init__(
        self,
        dsn: str,
        *,
        pauses: Sequence[float] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._dsn = dsn
        self._pauses = tuple(PAUSES_S if pauses is None else pauses)
        self._sleep = sleep
        self._client: Any = None

    @property
    def where(self) -> str:
        """The server, as it may be shown."""
        return without_secrets(self._dsn)

    def __repr__(self) -> str:
        return f"Connection({self.where!r})"

    def read(self, query: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        """The whole answer to a query, streamed as Arrow record batches; text columns as text.

        Raises `StoreUnavailable`, `NotFound` (no such table or database), `ValidationFailed` (a
        query that the table does not allow).
        """

        def ask(client: Any) -> pa.Table:
            stream = client.raw_stream(query, parameters=dict(parameters or {}), fmt="ArrowStream")
            try:
                return _whole_table(stream)
            finally:
                stream.close()

        return self._patiently(ask)

    def command(self, statement: str) -> None:
        """Run a statement that answers nothing and may be run twice. Raises as `read`."""
        self._patiently(lambda client: client.command(statement))

    def insert(self, table: str, rows: pa.Table) -> None:
        """Insert rows into a (quoted) table by column name. Raises as `read`.

        After a broken connection the rows are sent again: the table may then hold them twice.
        """
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, rows.schema) as writer:
            writer.write_table(rows)
        block = sink.getvalue().to_pybytes()
        names = rows.schema.names
        self._patiently(
            lambda client: client.raw_insert(
                table, column_names=names, insert_block=block, fmt="Arrow"
            )
        )

    def close(self) -> None:
        """Let the client go; the next question opens another."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _patiently(self, ask: Callable[[Any], T]) -> T:
        for pause in (*self._pauses, None):
            try:
                return ask(self._opened())
            except QuantlabError:
                raise
            except Exception as error:
                if not _on_the_way(error):
                    raise self._refusal(error) from None
                if _silence(error):
                    raise StoreUnavailable(
                        f"ClickHouse {self.where} does not answer: {self._shown(_root(error))}; if"
                        " it only takes long, add ?send_receive_timeout=SECONDS to QUANTLAB_CANDLES"
                    ) from None
                if pause is None:
                    raise StoreUnavailable(
                        f"ClickHouse {self.where} cannot be reached, or breaks off:"
                        f" {self._shown(_root(error))} (tried {len(self._pauses) + 1} times); is it"
                        " running, and is QUANTLAB_CANDLES right?"
                    ) from None
                self._sleep(pause)
        raise AssertionError

    def _opened(self) -> Any:
        if self._client is None:
            from clickhouse_connect.driver import create_client

            # It also logs what it raises, with addresses; without a handler that is printed.
            logging.getLogger("clickhouse_connect").addHandler(logging.NullHandler())
            options: dict[str, Any] = {}
            if not self._dsn.startswith("chdb:"):
                secure = self._dsn.startswith("clickhouses:")
                options = {
                    "interface": "https" if secure else "http",
                    # Many addresses make a long URL; some servers refuse one.
                    "form_encode_query_params": True,
                    "autogenerate_session_id": False,
                    "query_retries": 0,
                }
            try:
                self._client = create_client(dsn=self._dsn, **options)
            except ImportError as error:
                raise StoreUnavailable(
                    f"{self.where}: the embedded ClickHouse is not installed; {EXTRA}"
                ) from error
            except (TypeError, ValueError) as error:
                raise ValidationFailed(
                    f"QUANTLAB_CANDLES: {self.where}: an option cannot be used:"
                    f" {self._shown(error)}"
                ) from None
        return self._client

    def _refusal(self, error: Exception) -> QuantlabError:
        """What the server says to the question, in one line."""
        code = getattr(error, "code", None)
        if code in _WRONG_CREDENTIALS or _http_status(error) in (401, 403):
            return StoreUnavailable(
                f"ClickHouse {self.where} refuses the user or the password; check QUANTLAB_CANDLES"
            )
        if code in _FORBIDDEN:
            return StoreUnavailable(
                f"ClickHouse {self.where}: the user may not do this: {self._shown(error)}"
            )
        if code == _NO_DATABASE:
            return NotFound(
                f"ClickHouse {self.where}: {self._shown(error)}; make it with CREATE DATABASE, or"
                " leave it out of QUANTLAB_CANDLES to use the database `default`"
            )
        if code == _NO_TABLE:
            return NotFound(f"ClickHouse {self.where}: {self._shown(error)}")
        return StoreUnavailable(f"ClickHouse {self.where}: {self._shown(error)}")

    def _shown(self, error: BaseException) -> str:
        """The first line of an error, cut, without what is secret."""
        text = " ".join(str(error).split()) or type(error).__name__
        text = _NOISE.sub("", text.rpartition("DB::Exception: ")[2])
        for secret in sorted(secrets_of(self._dsn), key=len, reverse=True):
            text = text.replace(secret, "***")
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


class _Watched:
    """A stream that remembers its last bytes: Arrow takes one that breaks off between two batches
    for a whole one."""

    closed = False

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.tail = b""

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._stream.read() if size < 0 else self._stream.read(size)
        self.tail = (self.tail + data[-len(_END_OF_STREAM) :])[-len(_END_OF_STREAM) :]
        return data

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        pass


def _whole_table(stream: Any) -> pa.Table:
    watched = _Watched(stream)
    try:
        with pa.ipc.open_stream(pa.PythonFile(watched, mode="r")) as reader:
            table = reader.read_all()
    except (pa.ArrowInvalid, pa.ArrowSerializationError) as error:
        raise BrokenAnswerError(f"the answer is damaged: {error}") from error
    while watched.read(1 << 16):
        pass
    if watched.tail != _END_OF_STREAM:
        raise BrokenAnswerError("the answer broke off")
    return _with_text(table)


def _with_text(table: pa.Table) -> pa.Table:
    """Old servers send text as bytes."""
    fields = [
        pa.field(field.name, pa.string() if pa.types.is_binary(field.type) else field.type)
        for field in table.schema
    ]
    return table.cast(pa.schema(fields))


def _on_the_way(error: Exception) -> bool:
    """Whether the question or its answer was lost, rather than refused."""
    from clickhouse_connect.driver.exceptions import (
        DatabaseError,
        OperationalError,
        ProgrammingError,
    )
    from urllib3.exceptions import HTTPError

    if isinstance(error, (BrokenAnswerError, HTTPError, OSError, EOFError)):
        return True
    if not isinstance(error, DatabaseError) or error.code is not None:
        return False
    status = _http_status(error)
    if status is not None:
        return status >= 500 or status in (408, 429)
    return isinstance(error, OperationalError) and not isinstance(error, ProgrammingError)


def _silence(error: BaseException) -> bool:
    """Whether the server took the question and then said nothing for as long as one waits."""
    from urllib3.exceptions import ReadTimeoutError

    return any(isinstance(cause, ReadTimeoutError) for cause in _chain(error))


def _root(error: BaseException) -> BaseException:
    """What an error comes down to: the driver and its HTTP library wrap one another's."""
    return _chain(error)[-1]


def _chain(error: BaseException) -> list[BaseException]:
    """An error and what it wraps, outermost first."""
    seen: list[BaseException] = []
    while not any(error is known for known in seen):
        seen.append(error)
        reason = getattr(error, "reason", None)
        inner = reason if isinstance(reason, Exception) else error.__cause__ or error.__context__
        error = inner if isinstance(inner, Exception) and str(inner) else error
    return seen


def _http_status(error: Exception) -> int | None:
    """The status of an answer that did not come from ClickHouse itself, but from what is before
    it: the driver has it in the message only."""
    _, marker, rest = str(error).partition("HTTP driver received HTTP status ")
    return int(rest[:3]) if marker and rest[:3].isdigit() else None
