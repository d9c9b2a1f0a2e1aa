"""Who is active, who superseded: the rule itself, without a database."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from quantlab_assets.adapters.manifest.changes.succession import Active, Succession, decide
from quantlab_assets.domain.artifacts.records import Artifact

KEY = ("notes", "chat=7")
A = Artifact(
    artifact_id="a",
    artifact_type="notes",
    schema_version=1,
    logical_key="chat=7",
    status="active",
    path="",
    file_hash="",
    file_size=0,
    content_hash="",
    row_count=0,
    min_ts=None,
    max_ts=None,
    created_at=datetime(2025, 5, 1, tzinfo=UTC),
    keeps_many=False,
)
B, C = replace(A, artifact_id="b"), replace(A, artifact_id="c")
B_NEWER = replace(B, schema_version=2)


def test_what_arrives_takes_the_place_of_what_is_active() -> None:
    assert decide([B], {KEY: [Active("a", 1)]}, displaces=True) == Succession(
        {"b": "active", "a": "superseded"}, {"b": ("a",)}, {}
    )


def test_what_is_active_already_changes_nothing() -> None:
    assert decide([A, A], {KEY: [Active("a", 1)]}, displaces=True) == Succession(
        {"a": "active"}, {}, {}
    )


def test_what_may_displace_nothing_yields() -> None:
    assert decide([B], {KEY: [Active("a", 1)]}, displaces=False) == Succession(
        {"b": "superseded"}, {}, {"b": "a"}
    )


@pytest.mark.parametrize("displaces", [True, False])
def test_of_several_arrivals_the_last_is_active(displaces: bool) -> None:
    assert decide([A, B, C], {}, displaces=displaces) == Succession(
        {"a": "superseded", "b": "superseded", "c": "active"}, {"b": ("a",), "c": ("b",)}, {}
    )


def test_an_earlier_schema_version_yields_to_a_newer_one() -> None:
    assert decide([A], {KEY: [Active("b", 2)]}, displaces=True) == Succession(
        {"a": "superseded"}, {}, {"a": "b"}
    )
    assert decide([B_NEWER, A], {}, displaces=True) == Succession(
        {"b": "active", "a": "superseded"}, {}, {"a": "b"}
    )


def test_a_newer_schema_version_takes_the_places_of_all_earlier_ones() -> None:
    held = {KEY: [Active("a", 1), Active("c", 1)]}
    assert decide([B_NEWER], held, displaces=True).displaced == {"b": ("a", "c")}


def test_a_type_that_keeps_many_has_no_places() -> None:
    many = [replace(one, keeps_many=True) for one in (A, B)]
    assert decide(many, {KEY: [Active("c", 1)]}, displaces=True) == Succession(
        {"a": "active", "b": "active"}, {}, {}
    )


def test_what_arrives_superseded_or_tombstoned_stays_so() -> None:
    arrivals = [replace(A, status="superseded"), replace(B, status="tombstoned")]
    assert decide(arrivals, {KEY: [Active("c", 1)]}, displaces=True) == Succession(
        {"a": "superseded", "b": "tombstoned"}, {}, {}
    )
