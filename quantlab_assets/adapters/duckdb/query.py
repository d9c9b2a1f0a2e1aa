"""Ask a projection: one statement at a time, read-only, and stopped the moment somebody says so.

What is handed out is ready to be printed: numbers, booleans and text, with all times in UTC. Which
SQL type becomes what is said to DuckDB, so that no decoder meets a type that it does not know.
"""

import difflib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import duckdb
import polars as pl
import pyarrow as pa

from quantlab_assets.adapters.duckdb.script import is_complete, split, without_comments
from quantlab_assets.domain.errors import IntegrityError, StoreUnavailable, ValidationFailed

Result = TypeVar("Result")

AT_A_TIME: Final = 65_536
"""Rows of a result that stand in memory together."""

READS_ONLY: Final = (
    "only queries are run here: SELECT, FROM, WITH, VALUES, PIVOT, DESCRIBE, SUMMARIZE, SHOW, "
    "EXPLAIN"
)

_READING: Final = frozenset({"SELECT", "EXPLAIN", "MULTI"})
"""DuckDB's kinds of statements that read; MULTI is what a PIVOT is made into."""

_WRITING: Final = frozenset(
    {"CREATE", "INSERT", "UPDATE", "DELETE", "MERGE", "COPY", "SET", "LOAD"}
)
"""What can be explained, or made of a PIVOT, and does more than read, if only in memory."""

_FIRST_WORD: Final = re.compile(
    r"[\s;]*(?:EXPLAIN\b\s*(?:ANALYZE\b\s*)?(?:\([^()]*\)\s*(?=\w))?)?[\s(]*([A-Za-z]+)",
    re.IGNORECASE,
)

_WHOLE: Final = frozenset(
    {
        *("tinyint", "smallint", "integer", "bigint"),
        *("utinyint", "usmallint", "uinteger", "ubigint"),
        *("hugeint", "decimal"),
    }
)
_NUMBERS: Final = _WHOLE | {"float", "double", "uhugeint", "bignum"}
_AS_THEY_ARE: Final = _WHOLE | {"float", "double", "boolean"}
_ZONED: Final = frozenset({"timestamp with time zone", "timestamptz_ns"})
_UNZONED: Final = frozenset({"timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns"})
_IN_NANOSECONDS: Final = frozenset({"timestamp_ns", "timestamptz_ns"})
_NESTED: Final = frozenset({"list", "array", "struct", "map"})
_FRAMED: Final = (
    (_AS_THEY_ARE - {"decimal"})
    | _UNZONED
    | {"timestamp with time zone", "date", "time", "varchar", "blob", "enum", "uuid", "decimal"}
    | {'"null"'}
)
"""What Polars takes from Arrow as it is; nested types are looked into."""

_UNREADABLE: Final = ("IO Error", "INTERNAL Error", "FATAL Error", "Serialization Error")
_LISTEN_S: Final = 0.1
_PAUSE_S: Final = 0.02
_HINT: Final = re.compile(r"Did you mean|Candidate.*[^:]$")
_NUMBERS_JSON_LACKS: Final = re.compile(r"\b(?:NaN|Infinity)\b")
_TEXT_OR_NUMBER_JSON_LACKS: Final = re.compile(
    r'"(?:[^"\\]|\\.)*"|(?P<lacks>-?\b(?:NaN|Infinity)\b)'
)


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """A column of a result, and whether it holds numbers."""

    name: str
    is_number: bool


class QueryResult:
    """The rows of one statement, computed while they are read: once, before the next is asked."""

    def __init__(self, session: "QuerySession", relation: duckdb.DuckDBPyRelation) -> None:
        self._session = session
        # As a subquery no two columns have one name.
        self._relation = relation.project("*")
        self._kinds = [str(kind.id).lower() for kind in self._relation.types]
        self.columns: tuple[ResultColumn, ...] = tuple(
            ResultColumn(name, kind in _NUMBERS)
            for name, kind in zip(self._relation.columns, self._kinds, strict=True)
        )

    def frames(self) -> Iterator[pl.DataFrame]:
        """At least one frame, also of no rows: booleans, numbers and text, null where it is NULL.

        Times are ISO 8601 (`Z` where they have a zone), binary is hexadecimal, what is nested JSON.
        """
        shown = ", ".join(
            f"{_printed(_quoted(column.name), kind)} AS {_quoted(column.name)}"
            for column, kind in zip(self.columns, self._kinds, strict=True)
        )
        reader = self._session.read(self._relation.project(shown))
        first = True
        for batch in self._session.batches(reader):
            yield pl.DataFrame(pl.from_arrow(batch))
            first = False
        if first:
            yield pl.DataFrame(pl.from_arrow(pa.Table.from_batches([], reader.schema)))

    def json_rows(self) -> Iterator[list[str]]:
        """Batches of rows, each a JSON object on one line; null for numbers that JSON lacks."""
        fields = ", ".join(
            f"{_quoted(column.name)} := {_as_json(_quoted(column.name), kind)}"
            for column, kind in zip(self.columns, self._kinds, strict=True)
        )
        reader = self._session.read(
            self._relation.project(f"to_json(struct_pack({fields}))::VARCHAR AS line")
        )
        for batch in self._session.batches(reader):
            lines: list[str] = batch.column(0).to_pylist()
            if _NUMBERS_JSON_LACKS.search("\n".join(lines)):
                lines = [_finite(line) for line in lines]
            yield lines

    def frame(self) -> pl.DataFrame:
        """All rows, with times, durations, lists and structs as Polars has them.

        Intervals become durations; months in them count 30 days, as in DuckDB's own `epoch`. What
        Polars has no type for comes as text.
        """
        chosen = ", ".join(
            f"{_framed(_quoted(column.name), kind)} AS {_quoted(column.name)}"
            for column, kind in zip(self.columns, self._relation.types, strict=True)
        )
        spans = [
            column.name
            for column, kind in zip(self.columns, self._kinds, strict=True)
            if kind == "interval"
        ]
        relation = self._relation.project(chosen)
        table = self._session.run(relation.to_arrow_table)
        frame = pl.DataFrame(pl.from_arrow(table))
        return frame.with_columns(pl.col(spans).cast(pl.Duration("us")))


class QuerySession:
    """A read-only connection to a projection, and what can be asked of it.

    A statement runs in a thread of its own, so that Ctrl-C and `timeout_s` (seconds that DuckDB may
    work on one statement, None for ever) stop it at once and leave the session as it was.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, *, timeout_s: float | None = None
    ) -> None:
        self._connection = connection
        self._timeout_s = timeout_s
        self._left_s = timeout_s
        self._engine = ThreadPoolExecutor(1, thread_name_prefix="query")

    def __enter__(self) -> "QuerySession":
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the thread; the connection is its owner's to close."""
        self._engine.shutdown(wait=True)

    def statements(self, script: str) -> tuple[str, ...]:
        """The statements of a script, none of which does anything but read.

        Raises `ValidationFailed` for what DuckDB cannot parse and for statements that do not read.
        """
        try:
            # The whole first: what it cannot parse, DuckDB names by the line of the script.
            self._connection.extract_statements(script)
            statements = split(script)
            for statement in statements:
                self._check_reads(statement)
        except duckdb.Error as error:
            raise self._refused(error, line=True) from error
        return statements

    @staticmethod
    def is_complete(script: str) -> bool:
        """Whether what is typed so far ends with the `;` of a statement."""
        return is_complete(script)

    def ask(self, statement: str, parameters: Sequence[Any] = ()) -> QueryResult:
        """The result of one statement. Values are bound to `$1`, `$2`, ... of it.

        Raises `ValidationFailed` for SQL that DuckDB refuses, here or while the rows are read, and
        `StoreUnavailable` for a query that needs more memory or time than it may take.
        """
        self._left_s = self._timeout_s
        relation = self.run(
            lambda: self._connection.sql(statement, params=list(parameters) or None)
        )
        if relation is None:
            raise ValidationFailed("the statement has no result; ask for rows with SELECT")
        return QueryResult(self, relation)

    def frame(self, query: str) -> pl.DataFrame:
        """All rows of the one query in a text; see `QueryResult.frame`.

        Raises `ValidationFailed` if there is no query, or several, and what `ask` raises.
        """
        statements = self.statements(query)
        if len(statements) != 1:
            raise ValidationFailed(f"one query is needed, and there are {len(statements)}")
        return self.ask(statements[0]).frame()

    def tables(self) -> QueryResult:
        """The tables, with how many rows and what they are about."""
        return self.ask(
            "SELECT table_name, estimated_size AS rows, comment FROM duckdb_tables()"
            " WHERE schema_name = 'main' AND NOT internal ORDER BY table_name"
        )

    def views(self) -> QueryResult:
        """The views, and what they are about."""
        return self.ask(
            "SELECT view_name, comment FROM duckdb_views()"
            " WHERE schema_name = 'main' AND NOT internal ORDER BY view_name"
        )

    def macros(self) -> QueryResult:
        """The macros, with their parameters."""
        return self.ask(
            "SELECT function_name || '(' || array_to_string(parameters, ', ') || ')' AS macro,"
            " comment FROM duckdb_functions()"
            " WHERE schema_name = 'main' AND NOT internal"
            " AND function_type IN ('macro', 'table_macro') ORDER BY macro"
        )

    def columns(self, table: str) -> QueryResult:
        """The columns of a table or view, and what they are about; none if there is no such."""
        return self.ask(
            "SELECT column_name, data_type, is_nullable AS nullable, comment"
            " FROM duckdb_columns() WHERE schema_name = 'main' AND NOT internal"
            " AND lower(table_name) = lower($1)"
            " ORDER BY column_index",
            [table],
        )

    def names(self) -> tuple[str, ...]:
        """The names of tables and views."""
        return self._texts(
            "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'main' AND NOT internal"
            " UNION SELECT view_name FROM duckdb_views()"
            " WHERE schema_name = 'main' AND NOT internal ORDER BY ALL"
        )

    def words(self) -> tuple[str, ...]:
        """What somebody who writes a query may want completed: names and keywords."""
        columns = self._texts(
            "SELECT DISTINCT column_name FROM duckdb_columns()"
            " WHERE schema_name = 'main' AND NOT internal"
            " UNION SELECT DISTINCT function_name FROM duckdb_functions()"
            " WHERE schema_name = 'main' AND NOT internal ORDER BY ALL"
        )
        keywords = self._texts(
            "SELECT DISTINCT upper(keyword_name) FROM duckdb_keywords()"
            " WHERE keyword_category = 'reserved' ORDER BY ALL"
        )
        return (*self.names(), *columns, *keywords)

    def suggestion(self, table: str) -> str:
        """What to write instead of a table that there is not."""
        known = self.names()
        close = difflib.get_close_matches(table.lower(), known, n=1)
        if close:
            return f"did you mean {close[0]}?"
        return f"there are {', '.join(known)}" if known else "there are no tables"

    def read(self, relation: duckdb.DuckDBPyRelation) -> Any:
        """An Arrow reader over the rows."""
        # Its name before DuckDB 1.5 is deprecated since 2.
        named = "to_arrow_reader" if hasattr(relation, "to_arrow_reader") else "fetch_record_batch"
        return self.run(lambda: getattr(relation, named)(AT_A_TIME))

    def batches(self, reader: Any) -> Iterator[Any]:
        """The record batches of a reader, each computed when it is asked for."""
        while True:
            batch = self.run(lambda: next(reader, None))
            if batch is None:
                return
            if batch.num_rows:
                yield batch

    def run(self, work: Callable[[], Result]) -> Result:
        """What the engine answers; Ctrl-C and the time limit stop it."""
        began = time.monotonic()
        answer = self._engine.submit(work)
        try:
            # Not one long wait: a signal need not wake the thread that waits.
            while not wait([answer], _LISTEN_S).done:
                if self._left_s is not None and time.monotonic() - began > self._left_s:
                    raise StoreUnavailable(
                        f"the query took longer than {self._timeout_s:g} s: select less, or give"
                        " it more time"
                    )
            return answer.result()
        except (duckdb.Error, OSError) as error:
            raise self._refused(error) from error
        except BaseException:
            self._stop(answer)
            raise
        finally:
            if self._left_s is not None:
                self._left_s = max(0.0, self._left_s - (time.monotonic() - began))

    def _stop(self, answer: "Future[Any]") -> None:
        while not answer.done():
            self._connection.interrupt()
            wait([answer], _PAUSE_S)
        with suppress(CancelledError, Exception):
            answer.result()

    def _check_reads(self, statement: str) -> None:
        parsed = self._connection.extract_statements(statement)
        # Before DuckDB 2 a PIVOT comes as its parts, which have no text: a type of its columns,
        # and a query.
        kinds = [_kind(part) for part in parsed if part.query or _kind(part) != "CREATE"]
        verb = _verb(statement, kinds[0] if kinds else "CREATE")
        reads = all(kind in _READING for kind in kinds)
        if not reads or (kinds != ["SELECT"] and verb in _WRITING):
            raise ValidationFailed(f"{verb} is refused: {READS_ONLY}")

    def _refused(self, error: Exception, *, line: bool = False) -> Exception:
        text = str(error)
        if isinstance(error, duckdb.OutOfMemoryException) or text.startswith("Out of Memory"):
            return StoreUnavailable(
                "the query needs more memory than it may take: select less, or raise the limits"
            )
        lines = [part.strip() for part in text.splitlines() if part.strip()]
        message = lines[0] if lines else type(error).__name__
        if message.startswith(_UNREADABLE):
            return IntegrityError(f"the projection cannot be read ({message}); rebuild it")
        hints = [part for part in lines[1:] if _HINT.match(part)]
        missing = re.search(r"Table with name (.+?) does not exist", message)
        if missing:
            # DuckDB would also offer its own catalogue tables.
            hints = [self.suggestion(missing[1])]
        where = re.search(r"^LINE (\d+):", text, re.MULTILINE)
        if line and where:
            hints.append(f"line {where[1]}")
        advice = f" ({'; '.join(hints)})" if hints else ""
        return ValidationFailed(f"DuckDB refuses the query: {message}{advice}")

    def _texts(self, statement: str) -> tuple[str, ...]:
        return tuple(
            text for frame in self.ask(statement).frames() for text in frame.to_series().to_list()
        )


def _kind(statement: duckdb.Statement) -> str:
    try:
        return str(statement.type.name)
    except ValueError:
        return "this statement"  # One that the binding has no name for, such as UPDATE EXTENSIONS.


def _verb(statement: str, kind: str) -> str:
    """The word that a statement begins with, as somebody wrote it; of what is explained, its
    own."""
    word = _FIRST_WORD.match(without_comments(statement))
    return word[1].upper() if word else kind


def _quoted(name: str) -> str:
    """A column's name as DuckDB gave it, as an identifier."""
    return '"' + name.replace('"', '""') + '"'


def _printed(name: str, kind: str) -> str:
    """SQL that makes a column of a kind numbers, booleans or text."""
    if kind in _AS_THEY_ARE:
        return name
    if kind in _ZONED or kind in _UNZONED:
        return _iso(name, kind)
    if kind == "blob":
        return f"lower(hex({name}))"
    if kind in _NESTED:
        return f"to_json({name})::VARCHAR"
    return f"{name}::VARCHAR"


def _as_json(name: str, kind: str) -> str:
    """SQL that makes a column of a kind something `to_json` writes as this project does."""
    if kind in _ZONED or kind in _UNZONED:
        return _iso(name, kind)
    return f"lower(hex({name}))" if kind == "blob" else name


def _framed(name: str, kind: Any) -> str:
    """SQL that makes a column something Polars takes from Arrow."""
    if str(kind.id).lower() == "interval":
        return f"epoch_us({name})"
    return name if _has_polars_type(kind) else f"{name}::VARCHAR"


def _has_polars_type(kind: Any) -> bool:
    sort = str(kind.id).lower()
    if sort in ("list", "array"):
        return _has_polars_type(kind.children[0][1])
    if sort == "struct":
        return all(_has_polars_type(child) for _, child in kind.children)
    return sort in _FRAMED


def _iso(name: str, kind: str) -> str:
    """Time as ISO 8601, without the fraction of whole seconds. Infinities stay words."""
    zone = "Z" if kind in _ZONED else ""
    if kind in _IN_NANOSECONDS:
        # `strftime` writes garbage for one of them.
        return f"regexp_replace(replace({name}::VARCHAR, ' ', 'T'), '[+]00$', 'Z')"
    moment = f"{name}::TIMESTAMP" if kind in ("timestamp_s", "timestamp_ms") else name
    text = f"strftime({moment}, '%Y-%m-%dT%H:%M:%S.%f{zone}')"
    return f"regexp_replace({text}, '[.]0+({zone})$', '\\1')"


def _finite(line: str) -> str:
    """A row without the numbers that JSON lacks, which `to_json` writes all the same."""
    return _TEXT_OR_NUMBER_JSON_LACKS.sub(
        lambda token: "null" if token["lacks"] else token[0],
        line,
    )
