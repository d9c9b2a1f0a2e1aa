"""Tables from CSV files by the declared types of an artifact type; nothing is guessed.

The first line names the columns, in any order; all of the type and no others. UTF-8, commas, quotes
doubled inside quotes. An empty cell is null where the column may be null and an error elsewhere;
`""` is the empty text. Words such as NA or null have no meaning. Integers are digits, with a sign;
numbers are decimal, or `nan`, `inf`, `-inf`; booleans `true` or `false`; dates `YYYY-MM-DD`; times
ISO 8601 in UTC (`2025-05-01T12:00:00.000001Z`, or `+00:00` for the `Z`) or whole microseconds since
1970. The value rules of the type are not checked here but when the table is published.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from quantlab_assets.adapters.objects.local_disk import read_file
from quantlab_assets.domain.artifacts.type import ArtifactType
from quantlab_assets.domain.errors import ValidationFailed

_INTEGER: Final = r"^[+-]?[0-9]{1,20}$"
_MICROS: Final = r"^-?[0-9]{1,18}$"
_TIME: Final = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?(Z|[+]00:00)$"
)
_FORMS: Final[Mapping[str, tuple[str, str]]] = {
    "integer": (_INTEGER, "an integer"),
    "number": (
        r"^([+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]{1,4})?|nan|-?inf)$",
        "a decimal number",
    ),
    "boolean": (r"^(true|false)$", "true or false"),
    "date": (r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", "a date YYYY-MM-DD"),
    "time": (f"{_MICROS}|{_TIME}", "a UTC time (ISO 8601 with Z) or microseconds since 1970"),
}


def read_csv(path: Path, artifact_type: ArtifactType) -> pa.Table:
    """The file's rows with the type's schema, in the order of the file.

    Raises `ValidationFailed` naming the line and the column, `NotFound`, `StoreUnavailable`.
    """
    from pyarrow import csv

    data = read_file(path)
    names = artifact_type.schema.names
    try:
        raw = csv.read_csv(
            pa.BufferReader(data),
            # One thread, one block: line numbers do not depend on how the file was cut.
            read_options=csv.ReadOptions(use_threads=False, block_size=max(len(data), 1)),
            parse_options=csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                check_utf8=True,
            ),
        )
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValidationFailed(f"{path} is no table of {artifact_type.name}: {reason}") from error
    given = raw.column_names
    missing = [name for name in names if name not in given]
    extra = [name for name in given if name not in names]
    if missing or extra or len(given) != len(names):
        what = f"lacks {', '.join(missing)}" if missing else f"has {(extra or given)[0][:80]!r}"
        raise ValidationFailed(
            f"{path}: its first line {what}; the columns of {artifact_type.name} are"
            f" {', '.join(names)}"
        )
    columns = []
    for field in artifact_type.schema:
        cells = raw.column(field.name).combine_chunks()
        try:
            columns.append(_parsed(cells, field))
        except _BadCell as bad:
            line = _line(raw, bad.row)
            raise ValidationFailed(f"{path}, line {line}, column {field.name}: {bad}") from None
    return pa.table(columns, schema=artifact_type.schema)


class _BadCell(Exception):  # noqa: N818
    def __init__(self, row: int, what: str) -> None:
        super().__init__(what)
        self.row = row


def _parsed(cells: pa.StringArray, field: pa.Field) -> Any:
    if cells.null_count and not field.nullable:
        raise _BadCell(pc.index(pc.is_null(cells), True).as_py(), "is empty and may not be")
    kind = _kind(field.type)
    if kind is None:
        return cells.cast(field.type)
    pattern, wanted = _FORMS[kind]
    fits = pc.fill_null(pc.match_substring_regex(cells, pattern), True)
    _refuse(fits, cells, wanted)
    if kind == "time":
        return _times(cells, field.type, wanted)
    if kind == "number":
        cells = pc.replace_substring_regex(cells, r"^[+]", "")
    if kind == "integer":
        cells = pc.replace_substring_regex(cells, r"^[+]", "")
    try:
        return cells.cast(field.type)
    except pa.ArrowException:
        # The form fits and the value does not (2025-02-30, too many digits): find the first.
        _refuse_first_uncastable(cells, field.type, wanted)
        raise


def _kind(kind: pa.DataType) -> str | None:
    if pa.types.is_integer(kind):
        return "integer"
    if pa.types.is_floating(kind):
        return "number"
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_date(kind):
        return "date"
    return "time" if pa.types.is_timestamp(kind) else None


def _times(cells: pa.StringArray, kind: pa.DataType, wanted: str) -> Any:
    whole = pc.fill_null(pc.match_substring_regex(cells, _MICROS), False)
    none = pa.nulls(len(cells), pa.string())
    micros = pc.if_else(whole, cells, none).cast(pa.int64()).cast(pa.timestamp("us"))
    written = pc.replace_substring_regex(pc.if_else(whole, none, cells), r"(Z|[+]00:00)$", "")
    try:
        parsed = written.cast(pa.timestamp("us"))
    except pa.ArrowException:
        _refuse_first_uncastable(written, pa.timestamp("us"), wanted)
        raise
    return pc.coalesce(micros, parsed).cast(pa.timestamp("us", tz="UTC")).cast(kind)


def _refuse(fits: pa.BooleanArray, cells: pa.StringArray, wanted: str) -> None:
    row = pc.index(fits, False).as_py()
    if row >= 0:
        raise _BadCell(row, f"{cells[row].as_py()[:80]!r} is not {wanted}")


def _refuse_first_uncastable(cells: pa.StringArray, kind: pa.DataType, wanted: str) -> None:
    """Halve the cells until the first bad one is left."""
    start, end = 0, len(cells)
    while end - start > 1:
        middle = (start + end) // 2
        try:
            cells[start:middle].cast(kind)
            start = middle
        except pa.ArrowException:
            end = middle
    raise _BadCell(start, f"{cells[start].as_py()[:80]!r} is not {wanted} that fits {kind}")


def _line(raw: pa.Table, row: int) -> int:
    """The line of the file that a row begins at: cells may hold line breaks."""
    before = raw.slice(0, row)
    breaks = sum(pc.sum(pc.count_substring(column, "\n")).as_py() or 0 for column in before.columns)
    return row + 2 + int(breaks)
