"""The one form of a table that is hashed and stored: declared types, canonical floats, total
order.

Rows ascend by the type's sort keys, then by all other columns in schema order; nulls come first,
text compares by its UTF-8 bytes, NaN comes last; exact duplicates stay. Data mostly arrives in
order, so the order is checked first (a fraction of the cost of hashing) and rows are sorted only
if that fails.
"""

from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantlab_assets.domain.artifacts.content_hash import canonical_floats
from quantlab_assets.domain.artifacts.type import ArtifactType
from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.time_us import to_us

_UTC_NAMES: Final = {"UTC", "Etc/UTC", "+00:00", "Z"}
_EARLIEST_US: Final = to_us(datetime(1, 1, 1, tzinfo=UTC))
_LATEST_US: Final = to_us(datetime(9999, 12, 31, tzinfo=UTC))

Array = np.ndarray[Any, Any]


def canonical_table(table: pa.Table, artifact_type: ArtifactType) -> pa.Table:
    """The table with exactly the type's schema, in canonical order, every column one chunk at most.

    Columns may come in any order, and as physical variants of their type (large, view, dictionary,
    another time unit where no digit is lost, an all-null column without a type). Raises
    `ValidationFailed` naming the column for anything else: a missing, extra or repeated column,
    another type, a null in a column that has none, text that is not UTF-8, a time outside the years
    1 to 9999.
    """
    _check_names(table, artifact_type)
    columns = [
        _conform(table.column(field.name), field, artifact_type.name)
        for field in artifact_type.schema
    ]
    conformed = pa.table(columns, schema=artifact_type.schema)
    if in_canonical_order(conformed, artifact_type):
        return conformed
    return _sorted(conformed, artifact_type)


def in_canonical_order(table: pa.Table, artifact_type: ArtifactType) -> bool:
    """Whether the rows of a table that has the type's schema are in canonical order."""
    rows = table.num_rows
    if rows < 2:
        return True
    tied: Array | None = None
    for name in artifact_type.order:
        above, equal = _neighbours(_one_array(table.column(name)))
        if above is not None and bool((above if tied is None else above & tied).any()):
            return False
        if equal is not None:
            tied = equal if tied is None else tied & equal
            if not tied.any():
                return True
    return True


def _check_names(table: pa.Table, artifact_type: ArtifactType) -> None:
    given, wanted = table.column_names, artifact_type.schema.names
    missing = [name for name in wanted if name not in given]
    if missing:
        raise ValidationFailed(f"{artifact_type.name}: missing column {', '.join(missing)}")
    extra = [name for name in given if name not in wanted]
    if extra:
        raise ValidationFailed(
            f"{artifact_type.name}: unknown column {', '.join(name[:60] for name in extra[:5])}"
        )
    if len(given) != len(wanted):
        twice = sorted({name for name in given if given.count(name) > 1})
        raise ValidationFailed(f"{artifact_type.name}: column {', '.join(twice)} is there twice")


def _conform(column: pa.ChunkedArray, field: pa.Field, type_name: str) -> pa.Array:
    """The column as one array of the declared type."""
    if column.type != field.type:
        if not _is_variant(column.type, field.type):
            raise ValidationFailed(
                f"{type_name}: column {field.name} is {column.type}, must be {field.type}"
            )
        try:
            column = column.cast(field.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise ValidationFailed(
                f"{type_name}: column {field.name} cannot become {field.type}"
                f" without loss: {_one_line(error)}"
            ) from error
    array = _one_array(column)
    if array.null_count and not field.nullable:
        row = pc.index(array.is_null(), True).as_py()
        raise ValidationFailed(f"{type_name}: column {field.name} must not be null, row {row} is")
    if pa.types.is_floating(field.type):
        return _conform_floats(array)
    if pa.types.is_string(field.type):
        try:
            array.validate(full=True)
        except pa.ArrowInvalid as error:
            raise ValidationFailed(
                f"{type_name}: column {field.name} holds text that is not UTF-8"
            ) from error
    elif pa.types.is_timestamp(field.type) and len(array) > array.null_count:
        extremes = pc.min_max(array.cast(pa.int64()))
        if extremes["min"].as_py() < _EARLIEST_US or extremes["max"].as_py() >= _LATEST_US:
            raise ValidationFailed(
                f"{type_name}: column {field.name} holds a time outside the years 1 to 9999"
            )
    return array


def _is_variant(given: pa.DataType, declared: pa.DataType) -> bool:
    """Whether `given` is another physical form of the declared logical type."""
    if pa.types.is_dictionary(given):
        given = given.value_type
    if given == declared or pa.types.is_null(given):
        return True
    if pa.types.is_string(declared):
        return given in (pa.large_string(), pa.string_view())
    if pa.types.is_binary(declared):
        return given in (pa.large_binary(), pa.binary_view())
    if pa.types.is_timestamp(declared) and pa.types.is_timestamp(given):
        return given.tz == declared.tz or {given.tz, declared.tz} <= _UTC_NAMES
    return False


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    combined = column.combine_chunks()
    if isinstance(combined, pa.ChunkedArray):
        if combined.num_chunks > 1:
            raise ValidationFailed(
                "one artifact cannot hold 2 GiB of text in a column; split it into more artifacts"
            )
        combined = combined.chunk(0) if combined.num_chunks else pa.array([], column.type)
    return combined


def _conform_floats(array: pa.Array) -> pa.Array:
    if len(array) == 0:
        return array
    values = _fixed_values(array)
    canonical = canonical_floats(values)
    if canonical is values:
        return array
    mask = array.is_null().to_numpy(zero_copy_only=False) if array.null_count else None
    return pa.array(canonical, array.type, mask=mask)


def _fixed_values(array: pa.Array) -> Array:
    """The values of a fixed-width array as numpy sees its buffer; garbage in null slots."""
    dtype = np.dtype(array.type.to_pandas_dtype()) if not pa.types.is_temporal(array.type) else None
    if dtype is None:
        dtype = np.dtype(f"<i{array.type.bit_width // 8}")
    return np.frombuffer(array.buffers()[1], dtype, len(array), array.offset * dtype.itemsize)


def _float_ranks(values: Array) -> Array:
    """Integers that order as canonical floats do: by value, NaN last."""
    signed = canonical_floats(values).view(f"<i{values.itemsize}")
    return np.where(signed < 0, signed ^ np.iinfo(signed.dtype).max, signed)


def _comparable(array: pa.Array) -> Array | pa.Array:
    """Values whose natural order is the canonical one; what null slots hold is left open."""
    if pa.types.is_boolean(array.type):
        return np.asarray(array.fill_null(False).to_numpy(zero_copy_only=False))
    if pa.types.is_floating(array.type):
        return _float_ranks(_fixed_values(array))
    if pa.types.is_string(array.type) or pa.types.is_binary(array.type):
        return array.fill_null("" if pa.types.is_string(array.type) else b"")
    return _fixed_values(array)


def _neighbours(array: pa.Array) -> tuple[Array | None, Array | None]:
    """For each row but the last: is it above the next one, is it equal to it.

    The first is None where no row is, the second None where all are.
    """
    values = _comparable(array)
    above: Array | None
    equal: Array | None
    if isinstance(values, np.ndarray):
        above, equal = values[:-1] > values[1:], values[:-1] == values[1:]
    else:
        upper, lower = values[:-1], values[1:]
        equal = pc.equal(upper, lower).to_numpy(zero_copy_only=False)
        above = None
        if not equal.all():
            above = pc.greater(upper, lower).to_numpy(zero_copy_only=False)
    if array.null_count:
        valid = array.is_valid().to_numpy(zero_copy_only=False)
        both, neither = valid[:-1] & valid[1:], ~valid[:-1] & ~valid[1:]
        null_below = valid[:-1] & ~valid[1:]
        above = null_below if above is None else (above & both) | null_below
        equal = (equal & both) | neither
    return above, None if equal.all() else equal


def _sorted(table: pa.Table, artifact_type: ArtifactType) -> pa.Table:
    ranks: list[pa.Array] = []
    for name in artifact_type.order:
        array = _one_array(table.column(name))
        if array.null_count:
            # False before True: a column of its own puts the nulls first.
            ranks.append(array.is_valid())
        values = _comparable(array)
        if isinstance(values, np.ndarray):
            if array.null_count:
                valid = array.is_valid().to_numpy(zero_copy_only=False)
                values = np.where(valid, values, values.dtype.type(0))
            values = pa.array(values)
        ranks.append(values)
    names = [str(i) for i in range(len(ranks))]
    indices = pc.sort_indices(
        pa.table(ranks, names=names), sort_keys=[(name, "ascending") for name in names]
    )
    return table.take(indices).combine_chunks()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
