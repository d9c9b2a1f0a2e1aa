"""In which order artifacts stand, and what can stay when some are added or go."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantlab_assets.adapters.duckdb import plan
from quantlab_assets.adapters.duckdb.content.tables import kept_in_place
from quantlab_assets.adapters.duckdb.plan import in_order
from quantlab_assets.domain.artifacts.records import Artifact

AT_ONCE = 4
"""How many artifacts come together."""


def artifact(number: int) -> Artifact:
    """An artifact whose key has nothing to do with when it came."""
    name = f"{number * 7919 % 10007:032x}"
    return Artifact(
        artifact_id=name,
        artifact_type="ohlcv_slice_v2",
        schema_version=2,
        logical_key=name,
        status="active",
        path=name,
        file_hash="",
        file_size=1,
        content_hash="",
        row_count=1,
        min_ts=None,
        max_ts=None,
        created_at=datetime(2025, 11, 7, tzinfo=UTC) + timedelta(seconds=number // AT_ONCE),
    )


def laid_out(count: int) -> list[str]:
    found = [artifact(number) for number in range(count)]
    arrivals = {one.artifact_id: number for number, one in enumerate(found)}
    return [one.artifact_id for one in in_order(found, arrivals)]


def test_without_arrivals_and_while_there_are_few_the_key_decides() -> None:
    found = [artifact(number) for number in range(40)]
    keys = sorted(one.logical_key for one in found)
    assert [one.logical_key for one in in_order(found, None)] == keys
    assert laid_out(40) == keys


def test_what_comes_is_appended_until_there_is_twice_as_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plan, "SMALL", 16)
    for count in range(64, 128 - AT_ONCE, AT_ONCE):
        assert kept_in_place(laid_out(count), laid_out(count + AT_ONCE)) == count
    assert laid_out(128) == sorted(laid_out(128))


def test_what_came_at_once_stands_by_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "SMALL", 16)
    placed = laid_out(100)
    assert placed[:64] == sorted(placed[:64])
    for start in range(64, 100, AT_ONCE):
        batch = placed[start : start + AT_ONCE]
        assert batch == sorted(artifact(start + n).artifact_id for n in range(AT_ONCE))


def test_the_order_does_not_depend_on_that_in_which_artifacts_are_named() -> None:
    found = [artifact(number) for number in range(700)]
    arrivals = {one.artifact_id: number for number, one in enumerate(found)}
    assert in_order(found[::-1], arrivals) == in_order(found, arrivals)


@given(st.lists(st.integers(0, 12), unique=True), st.lists(st.integers(0, 12), unique=True))
def test_what_is_kept_stands_in_both_orders_and_more_cannot_be(
    old: list[int], new: list[int]
) -> None:
    before, after = [str(n) for n in old], [str(n) for n in new]
    kept = kept_in_place(before, after)
    staying = [one for one in before if one in after[:kept]]
    assert staying == after[:kept]
    more = [one for one in before if one in after[: kept + 1]]
    assert kept == len(after) or more != after[: kept + 1]
