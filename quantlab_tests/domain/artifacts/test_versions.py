"""What a type may declare of its earlier schema versions, and what is refused by name."""

from collections.abc import Mapping
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from quantlab_assets.domain.artifacts.registry import TypeRegistry
from quantlab_assets.domain.artifacts.type import ArtifactType, Upgrade
from quantlab_assets.domain.errors import NotFound, ValidationFailed
from quantlab_tests.contracts.versioned_type import MARKS_1, MARKS_2, MARKS_3


def version_2(columns: Mapping[str, pa.DataType], *, upgrade: Upgrade, **more: Any) -> ArtifactType:
    declared: dict[str, Any] = {
        "name": "marks",
        "schema_version": 2,
        "schema": pa.schema(
            [pa.field(name, kind, nullable=name != "who") for name, kind in columns.items()]
        ),
        "sort_keys": ("who",),
        "keys": MARKS_1.keys,
        "key_fields": MARKS_1.key_fields,
        "upgrade": upgrade,
        **more,
    }
    return ArtifactType(**declared)


AT = pa.timestamp("us", tz="UTC")
SAME = {"at": AT, "who": pa.string(), "old": pa.int64()}


@pytest.mark.parametrize(
    ("columns", "upgrade", "more", "says"),
    [
        ({**SAME, "new": pa.int64()}, {}, {}, "column new is new; say in the upgrade's columns"),
        ({"at": AT, "who": pa.string()}, {}, {}, "has no column old of version 1"),
        ({**SAME, "old": pa.float64()}, {}, {}, "column old is of another type than in version 1"),
        (SAME, {"dropped": ("gone",)}, {}, "version 1 has no column gone"),
        (SAME, {"renamed": {"old": "newer"}}, {}, "makes unknown columns newer"),
        (SAME, {"columns": {"no": None}}, {}, "makes unknown columns no"),
        (SAME, {"columns": {"who": None}}, {}, "column who cannot be null; give a rule"),
        (SAME, {}, {"name": "others"}, "leads from marks 1; give an earlier version of the same"),
        (SAME, {}, {"schema_version": 1}, "leads from marks 1; give an earlier version"),
        (SAME, {}, {"keeps_many": True}, "keeps many in all its versions or in none"),
    ],
)
def test_an_upgrade_accounts_for_every_column(
    columns: Mapping[str, pa.DataType], upgrade: Any, more: Any, says: str
) -> None:
    with pytest.raises(ValidationFailed, match=says):
        version_2(columns, upgrade=Upgrade(MARKS_1, **upgrade), **more)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (pl.col("old"), "makes column new Int64, must be Float64; cast it in its rule"),
        (pl.col("older"), "its upgrade fails: unable to find column"),
    ],
)
def test_a_rule_that_does_not_give_the_type_is_refused_when_it_is_registered(
    rule: pl.Expr, says: str
) -> None:
    kind = version_2({**SAME, "new": pa.float64()}, upgrade=Upgrade(MARKS_1, columns={"new": rule}))
    with pytest.raises(ValidationFailed, match=says):
        TypeRegistry().register(kind)


def test_the_registry_knows_all_versions() -> None:
    types = TypeRegistry([MARKS_3])
    assert types.get("marks") is MARKS_3
    assert [types.get("marks", version) for version in (1, 2, 3)] == [MARKS_1, MARKS_2, MARKS_3]
    assert list(types) == [MARKS_3]
    with pytest.raises(ValidationFailed, match="schema version 4 is not known, only 1, 2, 3"):
        types.get("marks", 4)
    with pytest.raises(NotFound, match="known: marks"):
        types.get("mark", 1)


def test_keys_are_carried_to_the_newest_version() -> None:
    old = "book=atlas/day=2025-05-01"
    assert MARKS_2.key_from(1, old) == old
    assert MARKS_3.key_from(1, old) == MARKS_3.key_from(2, old) == "day=2025-05-01/shelf=a"
    assert MARKS_3.fields_from(1, old) == {"day": "2025-05-01", "shelf": "a"}
    assert MARKS_3.parse_key_of_any_version(old) == {"book": "atlas", "day": "2025-05-01"}
    with pytest.raises(ValidationFailed, match="does not match book="):
        MARKS_3.key_from(1, "day=2025-05-01/shelf=a")


def test_a_key_of_which_nothing_says_where_its_data_is_has_no_successor() -> None:
    kind = version_2(SAME, upgrade=Upgrade(MARKS_1), keys=("day={day}",), key_fields={})
    assert kind.key_from(1, "book=atlas/day=2025-05-01") is None
    assert kind.fields_from(1, "book=atlas/day=2025-05-01")["book"] == "atlas"
