"""The canonical form of a table: declared types, canonical floats, one total order."""

import functools
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantlab_assets.domain.artifacts.canonical_order import canonical_table, in_canonical_order
from quantlab_assets.domain.artifacts.content_hash import content_hash
from quantlab_assets.domain.artifacts.seed_types import OHLCV_SLICE
from quantlab_assets.domain.artifacts.type import ArtifactType
from quantlab_assets.domain.errors import ValidationFailed

MIXED = ArtifactType(
    name="mixed",
    schema_version=1,
    schema=pa.schema(
        [
            pa.field("x", pa.float64()),
            pa.field("s", pa.string()),
            pa.field("t", pa.timestamp("us", tz="UTC")),
            pa.field("b", pa.bool_()),
            pa.field("n", pa.int64(), nullable=False),
            pa.field("raw", pa.binary()),
            pa.field("f", pa.float32()),
        ]
    ),
    sort_keys=("s", "t"),
    keys=("day={day}",),
)
NAN = float("nan")
ROWS = st.lists(
    st.tuples(
        st.none() | st.sampled_from([NAN, -0.0, 0.0, 1.5, -1.5, float("inf"), float("-inf")]),
        st.none() | st.sampled_from(["", "a", "B", "é", "\U0001f600", "￿", "aa"]),
        st.none() | st.integers(-3, 3),
        st.none() | st.booleans(),
        st.integers(-2, 2),
        st.none() | st.sampled_from([b"", b"\xff", b"a"]),
        st.none() | st.sampled_from([NAN, -0.0, 2.0, -2.0]),
    ),
    max_size=12,
)


def mixed(rows: list[tuple[Any, ...]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * 7
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, MIXED.schema, strict=True)],
        names=MIXED.schema.names,
    )


def by_the_rule(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The order as docs/store.md words it, one comparison at a time."""

    def compare(one: Any, other: Any) -> int:
        if one is None or other is None:
            return (one is not None) - (other is not None)
        if isinstance(one, float) and (one != one or other != other):
            return int(one != one) - int(other != other)
        if isinstance(one, str):
            one, other = one.encode(), other.encode()
        return int(one > other) - int(one < other)

    def compare_rows(one: tuple[Any, ...], other: tuple[Any, ...]) -> int:
        for i in (1, 2, 0, 3, 4, 5, 6):
            order = compare(one[i], other[i])
            if order:
                return order
        return 0

    return sorted(rows, key=functools.cmp_to_key(compare_rows))


@given(ROWS)
def test_rows_are_in_the_order_of_the_rule(rows: list[tuple[Any, ...]]) -> None:
    canonical = canonical_table(mixed(rows), MIXED)

    assert content_hash(canonical) == content_hash(mixed(by_the_rule(rows)))
    assert in_canonical_order(canonical, MIXED)
    assert canonical.schema == MIXED.schema


@given(rows=ROWS, data=st.data())
def test_the_order_of_the_input_does_not_matter(
    rows: list[tuple[Any, ...]], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(rows))

    assert content_hash(canonical_table(mixed(shuffled), MIXED)) == content_hash(
        canonical_table(mixed(rows), MIXED)
    )


@given(ROWS)
def test_the_check_says_what_the_rule_says(rows: list[tuple[Any, ...]]) -> None:
    table = mixed(rows).cast(MIXED.schema)
    ordered = content_hash(table) == content_hash(mixed(by_the_rule(rows)))

    assert in_canonical_order(table, MIXED) == ordered


def test_exact_duplicates_stay() -> None:
    row = (1.0, "a", 1, True, 1, b"", 1.0)

    assert canonical_table(mixed([row, row]), MIXED).num_rows == 2


def test_floats_are_stored_canonically() -> None:
    column = canonical_table(mixed([(-0.0, "a", 1, True, 1, b"", -0.0)]), MIXED).column("x")

    assert str(column[0].as_py()) == "0.0"


def test_physical_variants_become_the_declared_type() -> None:
    plain = mixed([(1.0, "a", 1, True, 1, b"r", 1.0), (2.0, "b", 2, None, 2, None, None)])
    nothing = mixed([(None, None, None, None, 1, None, None)])
    variants = {
        "s": [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())],
        "raw": [pa.large_binary(), pa.binary_view()],
        "t": [pa.timestamp("ns", tz="UTC"), pa.timestamp("us", tz="Etc/UTC")],
        "n": [pa.dictionary(pa.int8(), pa.int64())],
    }
    for name, types in variants.items():
        for data_type in types:
            i = plain.schema.get_field_index(name)
            column = plain.column(name)
            varied = (
                column.dictionary_encode()
                if pa.types.is_dictionary(data_type)
                else column.cast(data_type)
            )
            assert canonical_table(plain.set_column(i, name, varied), MIXED).equals(
                canonical_table(plain, MIXED)
            )
    untyped = nothing.set_column(1, "s", pa.nulls(1))
    assert canonical_table(untyped, MIXED).equals(canonical_table(nothing, MIXED))


def test_columns_may_come_in_any_order() -> None:
    table = mixed([(1.0, "a", 1, True, 1, b"", 1.0)])

    assert canonical_table(table.select(table.column_names[::-1]), MIXED).equals(
        canonical_table(table, MIXED)
    )


def test_chunks_become_one() -> None:
    table = mixed([(1.0, "a", 1, True, 1, b"", 1.0)])

    canonical = canonical_table(pa.concat_tables([table, table]), MIXED)

    assert {canonical.column(i).num_chunks for i in range(7)} == {1}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.drop_columns(["s"]), "missing column s"),
        (lambda t: t.append_column("more", t.column("s")), "unknown column more"),
        (lambda t: t.append_column("s", t.column("s")), "column s is there twice"),
        (lambda t: t.set_column(4, "n", pa.array([1], pa.int32())), "column n is int32"),
        (lambda t: t.set_column(4, "n", pa.array([1.0])), "column n is double"),
        (lambda t: t.set_column(4, "n", pa.array(["1"])), "column n is string"),
        (lambda t: t.set_column(4, "n", pa.array([None], pa.int64())), "column n must not be null"),
        (lambda t: t.set_column(4, "n", pa.nulls(1)), "column n must not be null"),
        (lambda t: t.set_column(1, "s", pa.array([b"a"])), "column s is binary"),
        (lambda t: t.set_column(2, "t", pa.array([1], pa.timestamp("us"))), "column t is"),
        (
            lambda t: t.set_column(2, "t", pa.array([1], pa.timestamp("us", tz="Europe/Paris"))),
            "column t is",
        ),
        (
            lambda t: t.set_column(2, "t", pa.array([1], pa.timestamp("ns", tz="UTC"))),
            "column t cannot become",
        ),
        (
            lambda t: t.set_column(2, "t", pa.array([2**62], pa.timestamp("us", tz="UTC"))),
            "column t holds a time outside",
        ),
        (
            lambda t: t.set_column(
                1,
                "s",
                pa.Array.from_buffers(
                    pa.string(),
                    1,
                    [None, pa.array([0, 1], pa.int32()).buffers()[1], pa.py_buffer(b"\xff")],
                ),
            ),
            "column s holds text that is not UTF-8",
        ),
    ],
)
def test_what_is_not_of_the_type_is_refused_by_name(change: Any, says: str) -> None:
    table = mixed([(1.0, "a", 1, True, 1, b"", 1.0)])

    with pytest.raises(ValidationFailed, match=f"mixed: {says}"):
        canonical_table(change(table), MIXED)


def test_an_empty_table_is_canonical() -> None:
    assert canonical_table(OHLCV_SLICE.empty(), OHLCV_SLICE).num_rows == 0
