"""QLCH-1: golden vectors, and what may and may not change a content hash."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantlab_assets.domain.artifacts.content_hash import BLOCK_ROWS, content_hash, type_code
from quantlab_assets.domain.errors import ValidationFailed

VECTORS = Path(__file__).parent / "content_hash_vectors"
EXPECTED = json.loads((VECTORS / "expected.json").read_text())

I64 = st.integers(-(2**63), 2**63 - 1)
COLUMNS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "f64": (pa.float64(), st.floats()),
    "f32": (pa.float32(), st.floats(width=32)),
    "i64": (pa.int64(), I64),
    "u16": (pa.uint16(), st.integers(0, 2**16 - 1)),
    "b": (pa.bool_(), st.booleans()),
    "s": (pa.string(), st.text(max_size=6)),
    "bin": (pa.binary(), st.binary(max_size=6)),
    "d": (pa.date32(), st.integers(-(2**31), 2**31 - 1)),
    "ts": (pa.timestamp("us", tz="UTC"), I64),
}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    rows = draw(st.integers(0, 20))
    arrays = {}
    for name, (data_type, values) in COLUMNS.items():
        of_column = draw(st.lists(st.none() | values, min_size=rows, max_size=rows))
        arrays[name] = pa.array(of_column, data_type)
    return pa.table(arrays)


def rebuilt(array: pa.Array, buffers: list[pa.Buffer | None], offset: int = 0) -> pa.Array:
    return pa.Array.from_buffers(array.type, len(array), buffers, offset=offset)


@pytest.mark.parametrize("name", EXPECTED)
def test_golden_vectors(name: str) -> None:
    with pa.OSFile(str(VECTORS / f"{name}.arrow")) as file:
        table = pa.ipc.open_file(file).read_all()

    assert content_hash(table) == EXPECTED[name]


# What does not change it


@given(table=tables(), cuts=st.lists(st.integers(0, 20), max_size=4))
def test_chunks_do_not_matter(table: pa.Table, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, table.num_rows) for cut in cuts), table.num_rows]
    pieces = [table.slice(a, b - a) for a, b in pairwise(edges)]

    assert content_hash(pa.concat_tables(pieces)) == content_hash(table)


@given(table=tables(), before=tables(), after=tables())
def test_slices_are_what_they_show(table: pa.Table, before: pa.Table, after: pa.Table) -> None:
    around = pa.concat_tables([before, table, after]).combine_chunks()

    assert content_hash(around.slice(before.num_rows, table.num_rows)) == content_hash(table)


@given(table=tables())
def test_dictionary_large_and_view_types_do_not_matter(table: pa.Table) -> None:
    expected = content_hash(table)
    for column, data_type in (
        ("s", pa.large_string()),
        ("s", pa.string_view()),
        ("bin", pa.large_binary()),
        ("bin", pa.binary_view()),
    ):
        i = table.schema.get_field_index(column)
        variant = table.set_column(i, column, table.column(column).cast(data_type))
        assert content_hash(variant) == expected
    for column in ("s", "bin", "i64", "f64", "ts", "d"):
        i = table.schema.get_field_index(column)
        variant = table.set_column(i, column, table.column(column).dictionary_encode())
        assert content_hash(variant) == expected


@given(values=st.lists(st.none() | st.text(max_size=4), min_size=1, max_size=9))
def test_a_null_inside_a_dictionary_is_a_null(values: list[str | None]) -> None:
    indices = pa.array(range(len(values)), pa.int32())
    encoded = pa.DictionaryArray.from_arrays(indices, pa.array(values, pa.string()))

    assert content_hash(pa.table({"s": encoded})) == content_hash(
        pa.table({"s": pa.array(values, pa.string())})
    )


@pytest.mark.parametrize("view", [pa.string_view(), pa.binary_view()], ids=str)
def test_a_dictionary_of_views_does_not_matter(view: pa.DataType) -> None:
    # So Polars gives categories to Arrow unless it is asked for older types.
    values = pa.array(["a", "longer than a view holds by itself"]).cast(view)
    indices = pa.array([1, None, 0, 1], pa.uint32())
    encoded = pa.DictionaryArray.from_arrays(indices, values)
    plain = pa.array([None if i is None else values[i].as_py() for i in indices.to_pylist()])

    assert content_hash(pa.table({"s": encoded})) == content_hash(pa.table({"s": plain}))
    assert content_hash(pa.table({"s": encoded.slice(1, 2)})) == content_hash(
        pa.table({"s": plain.slice(1, 2)})
    )


@given(table=tables(), rubbish=st.integers(0, 255))
def test_what_lies_under_nulls_does_not_matter(table: pa.Table, rubbish: int) -> None:
    columns = {}
    for name in ("f64", "f32", "i64", "b", "d", "ts"):
        array = table.column(name).combine_chunks()
        if array.null_count == 0 or len(array) == 0:
            columns[name] = array
            continue
        valid, values = array.buffers()
        mask = array.is_null().to_numpy(zero_copy_only=False)
        if name == "b":
            bits = np.unpackbits(np.frombuffer(values, np.uint8), bitorder="little").copy()
            bits[: len(array)][mask] = rubbish & 1
            dirty = np.packbits(bits, bitorder="little").tobytes()
        else:
            width = array.type.bit_width // 8
            cells = np.frombuffer(values, np.uint8)[: len(array) * width].copy()
            cells.reshape(-1, width)[mask] = rubbish
            dirty = cells.tobytes()
        columns[name] = rebuilt(array, [valid, pa.py_buffer(dirty)])

    assert content_hash(pa.table(columns)) == content_hash(table.select(list(columns)))


def test_text_under_nulls_does_not_matter() -> None:
    full = pa.array(["a", "hidden", "c", "", "end"])
    _, offsets, data = full.buffers()
    hiding = pa.Array.from_buffers(
        pa.string(), 5, [pa.py_buffer(bytes([0b11101])), offsets, data], null_count=1
    )

    assert hiding.to_pylist() == ["a", None, "c", "", "end"]
    for dirty, clean in (
        (hiding, pa.array(["a", None, "c", "", "end"])),
        (hiding.slice(1, 1), pa.array([None], pa.string())),
        (hiding.slice(1, 3), pa.array([None, "c", ""])),
    ):
        assert content_hash(pa.table({"s": dirty})) == content_hash(pa.table({"s": clean}))


@given(table=tables())
def test_a_validity_buffer_without_nulls_does_not_matter(table: pa.Table) -> None:
    full = table.drop_null()
    columns = {}
    for name in full.column_names:
        array = full.column(name).combine_chunks()
        valid = pa.py_buffer(b"\xff" * (len(array) // 8 + 1))
        columns[name] = rebuilt(array, [valid, *array.buffers()[1:]]) if len(array) else array

    assert content_hash(pa.table(columns)) == content_hash(full)


def test_every_nan_is_one_nan_and_zero_has_no_sign() -> None:
    doubles = [0x7FF8000000000001, 0xFFF8000000000000, 0x7FF0000000000001, 1 << 63]
    singles = [0x7FC00001, 0xFFC00000, 0x7F800001, 1 << 31]
    for odd, data_type in (
        (np.array(doubles, "<u8").tobytes(), pa.float64()),
        (np.array(singles, "<u4").tobytes(), pa.float32()),
    ):
        values = pa.Array.from_buffers(data_type, 4, [None, pa.py_buffer(odd)])
        one = pa.table({"x": values})
        two = pa.table({"x": pa.array([float("nan")] * 3 + [0.0], data_type)})
        assert content_hash(one) == content_hash(two)


@pytest.mark.parametrize("unit", ["s", "ms", "ns"])
def test_the_unit_of_a_time_does_not_matter(unit: str) -> None:
    times = pa.array([0, None, 86_400_000_000], pa.timestamp("us", tz="UTC"))

    assert content_hash(pa.table({"t": times.cast(pa.timestamp(unit, tz="UTC"))})) == content_hash(
        pa.table({"t": times})
    )


@given(table=tables())
def test_metadata_and_nullability_do_not_matter(table: pa.Table) -> None:
    described = table.replace_schema_metadata({"written": "yesterday"})
    full = table.drop_null()
    strict = pa.schema([field.with_nullable(False) for field in full.schema])

    assert content_hash(described) == content_hash(table)
    assert content_hash(full.cast(strict)) == content_hash(full)


def test_rows_are_hashed_in_blocks_whatever_the_chunks() -> None:
    rows = 2 * BLOCK_ROWS + 17
    rng = np.random.default_rng(7)
    numbers = rng.normal(size=rows)
    mask = rng.random(rows) < 0.1
    table = pa.table(
        {
            "x": pa.array(numbers, mask=mask),
            "s": pa.array([f"{i % 991}" for i in range(rows)], mask=mask),
            "b": pa.array(numbers > 0, mask=mask),
        }
    )
    pieces = [table.slice(start, 40_001) for start in range(0, rows, 40_001)]

    assert content_hash(pa.concat_tables(pieces)) == content_hash(table)


# What does


@given(table=tables(), data=st.data())
def test_another_value_is_another_hash(table: pa.Table, data: st.DataObject) -> None:
    if table.num_rows == 0:
        return
    name = data.draw(st.sampled_from(sorted(COLUMNS)))
    row = data.draw(st.integers(0, table.num_rows - 1))
    data_type, values = COLUMNS[name]
    column = table.column(name).combine_chunks()
    new = pa.array([data.draw(st.none() | values)], data_type)
    changed = pa.concat_arrays([column.slice(0, row), new, column.slice(row + 1)])
    other = table.set_column(table.schema.get_field_index(name), name, changed)

    same = _canonical(column[row]) == _canonical(new[0])
    assert (content_hash(other) == content_hash(table)) == same


def _canonical(scalar: pa.Scalar) -> object:
    if not scalar.is_valid:
        return None
    if pa.types.is_floating(scalar.type):
        value = scalar.as_py()
        return "nan" if value != value else value
    return (
        scalar.value
        if pa.types.is_timestamp(scalar.type) or pa.types.is_date(scalar.type)
        else scalar.as_py()
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": [1], "b": [2]}, {"b": [2], "a": [1]}),
        ({"a": [1]}, {"b": [1]}),
        ({"a": pa.array([1], pa.int32())}, {"a": pa.array([1], pa.int64())}),
        ({"a": pa.array([1.0], pa.float32())}, {"a": pa.array([1.0], pa.float64())}),
        ({"a": pa.array(["x"])}, {"a": pa.array([b"x"])}),
        (
            {"a": pa.array([0], pa.timestamp("us"))},
            {"a": pa.array([0], pa.timestamp("us", tz="UTC"))},
        ),
        ({"a": [1, 2]}, {"a": [2, 1]}),
        ({"a": [1]}, {"a": [1, 1]}),
        ({"a": ["ab", "c"]}, {"a": ["a", "bc"]}),
        ({"a": [None, ""]}, {"a": ["", None]}),
        ({"a": pa.array([None], pa.int64())}, {"a": [0]}),
        ({"ab": [1]}, {"a": [1]}),
    ],
)
def test_names_types_values_and_order_matter(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert content_hash(pa.table(one)) != content_hash(pa.table(other))


@pytest.mark.parametrize(
    "data_type",
    [
        pa.null(),
        pa.decimal128(10, 2),
        pa.list_(pa.int64()),
        pa.struct([("a", pa.int64())]),
        pa.duration("us"),
        pa.time64("us"),
        pa.date64(),
        pa.float16(),
        pa.binary(4),
    ],
)
def test_other_types_are_refused(data_type: pa.DataType) -> None:
    with pytest.raises(ValidationFailed, match="no content hash"):
        content_hash(pa.schema([("a", data_type)]).empty_table())


def test_a_time_that_would_lose_digits_is_refused() -> None:
    with pytest.raises(ValidationFailed, match="microseconds"):
        content_hash(pa.table({"t": pa.array([1], pa.timestamp("ns"))}))


def test_type_codes() -> None:
    assert type_code(pa.dictionary(pa.int8(), pa.large_string())) == "utf8"
    assert type_code(pa.timestamp("ns", tz="Europe/Paris")) == "ts_us:Europe/Paris"
    assert type_code(pa.timestamp("s")) == "ts_us:"
