"""Every column of every seed type is told in a line, and nothing else is."""

import pytest

from quantlab_assets.domain.artifacts import column_comments
from quantlab_assets.domain.artifacts.column_comments import column_comment
from quantlab_assets.domain.artifacts.seed_types import SEED_TYPES
from quantlab_assets.domain.artifacts.type import ArtifactType
from quantlab_assets.domain.assets import ASSETS

VERSIONS = [version for seed_type in SEED_TYPES for version in seed_type.versions]
KEY_COLUMNS = {column for asset in ASSETS for column, _ in asset.key_columns}


@pytest.mark.parametrize("version", VERSIONS, ids=lambda one: f"{one.name}-{one.schema_version}")
def test_every_column_is_told_in_a_line(version: ArtifactType) -> None:
    comments = {name: column_comment(version.name, name) for name in version.schema.names}
    assert [name for name, comment in comments.items() if comment is None] == []
    assert [c for c in comments.values() if c and (not c.endswith(".") or "\n" in c)] == []


def test_columns_that_tables_take_from_keys_are_told() -> None:
    assert [name for name in sorted(KEY_COLUMNS) if column_comment(None, name) is None] == []


def test_no_comment_outlives_its_column() -> None:
    columns = {name for version in VERSIONS for name in version.schema.names}
    assert set(column_comments._EVERYWHERE) - columns - KEY_COLUMNS == set()
    for artifact_type, comments in column_comments._BY_TYPE.items():
        of_type = {n for v in VERSIONS if v.name == artifact_type for n in v.schema.names}
        assert set(comments) - of_type == set(), artifact_type
