"""Rows of an earlier schema version as rows of the newest, as the type's upgrades declare it.

Readers get every artifact like this; what is hashed and verified are always the stored bytes. What
an upgrade may say is in `type`. The order of rows is the newest version's canonical order, so that
what is read is what publishing the upgraded rows would have stored.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa

from quantlab_assets.domain.artifacts.type import ArtifactType
from quantlab_assets.domain.errors import ValidationFailed

_PLACE: Final = "quantlab_artifact_place"
_SLICE_ROWS: Final = 1 << 20


def upgraded(
    rows: pl.LazyFrame,
    artifact_type: ArtifactType,
    schema_version: int,
    row_counts: Sequence[int],
    columns: Sequence[str] | None = None,
) -> pl.DataFrame:
    """The rows of artifacts of one earlier version, one artifact after the other, as rows of
    `artifact_type`, each artifact's in canonical order.

    `row_counts` are the artifacts' numbers of rows, `columns` the ones wanted (None: all).
    Raises `ValidationFailed` if a rule does not give what the type declares, or a column is
    unknown.
    """
    chain = _chain(artifact_type, schema_version)
    wanted = artifact_type.schema.names if columns is None else list(columns)
    unknown = [name for name in wanted if name not in artifact_type.schema.names]
    if unknown:
        raise ValidationFailed(f"no such column: {unknown[0]}")
    for newer in chain:
        rows = _step(rows, newer)
    if all(_keeps_order(newer) for newer in chain):
        frame = rows.select(wanted).collect()
    else:
        frame = _in_order(rows.collect(), artifact_type, row_counts).select(wanted)
    _check(frame, artifact_type, schema_version)
    return frame


def to_arrow(rows: pl.DataFrame, artifact_type: ArtifactType) -> pa.Table:
    """A frame of all columns with exactly the type's Arrow schema."""
    # In pieces, so that each piece's text has room in 32-bit offsets.
    pieces = [piece.to_arrow() for piece in rows.iter_slices(_SLICE_ROWS)]
    pieces = [piece.cast(artifact_type.schema) for piece in pieces]
    return pa.concat_tables(pieces) if pieces else artifact_type.empty()


def upgraded_table(table: pa.Table, artifact_type: ArtifactType, schema_version: int) -> pa.Table:
    """The table of one artifact of an earlier version as a table of `artifact_type`."""
    frame = pl.DataFrame(pl.from_arrow(table)).lazy()
    return to_arrow(upgraded(frame, artifact_type, schema_version, [table.num_rows]), artifact_type)


def check_upgrades(artifact_type: ArtifactType) -> None:
    """Raise `ValidationFailed` unless the rules of all upgrades give the types declared.

    It wakes Polars' threads, and a process that has threads should not fork.
    """
    for newer in artifact_type.versions[:-1]:
        assert newer.upgrade is not None
        earlier = newer.upgrade.earlier
        nothing = pl.LazyFrame(schema=_polars_schema(earlier))
        try:
            made = _step(nothing, newer).collect_schema()
        except (pl.exceptions.PolarsError, TypeError, AttributeError) as error:
            reason = (str(error).splitlines() or [""])[0]
            raise ValidationFailed(
                f"artifact type {newer.name} {newer.schema_version}: its upgrade fails: {reason}"
            ) from error
        _check_types(made, newer, earlier.schema_version)


def _chain(artifact_type: ArtifactType, schema_version: int) -> list[ArtifactType]:
    """The versions that rows of a version pass on their way, oldest first."""
    artifact_type.version(schema_version)
    later = [
        declared for declared in artifact_type.versions if declared.schema_version > schema_version
    ]
    return later[::-1]


def _step(rows: pl.LazyFrame, newer: ArtifactType) -> pl.LazyFrame:
    """Rows of the version before as rows of `newer`."""
    upgrade = newer.upgrade
    assert upgrade is not None
    old_names = {new: old for old, new in upgrade.renamed.items()}
    made: list[pl.Expr] = []
    for name, dtype in _polars_schema(newer).items():
        if name not in upgrade.columns:
            made.append(pl.col(old_names.get(name, name)).alias(name))
        elif (rule := upgrade.columns[name]) is None:
            made.append(pl.lit(None, dtype=dtype).alias(name))
        else:
            made.append((rule() if callable(rule) else rule).alias(name))
    return rows.with_columns(made).select(newer.schema.names)


def _keeps_order(newer: ArtifactType) -> bool:
    """Whether rows in the earlier version's canonical order are in this one's too.

    They are if this one compares the same columns in the same order and only then others: rows
    that tie in all of the earlier columns are equal, and a rule makes equal values of them.
    """
    upgrade = newer.upgrade
    assert upgrade is not None
    before = [upgrade.renamed.get(name, name) for name in upgrade.earlier.order]
    same = newer.order[: len(before)] == tuple(before)
    return same and not upgrade.columns.keys() & set(before) and not upgrade.dropped


def _in_order(
    rows: pl.DataFrame, artifact_type: ArtifactType, row_counts: Sequence[int]
) -> pl.DataFrame:
    place = pl.Series(_PLACE, np.repeat(np.arange(len(row_counts)), row_counts))
    return (
        rows.with_columns(place).sort(_PLACE, *artifact_type.order, nulls_last=False).drop(_PLACE)
    )


def _check(rows: pl.DataFrame, artifact_type: ArtifactType, schema_version: int) -> None:
    _check_types(rows.schema, artifact_type, schema_version)
    for name in rows.columns:
        if not artifact_type.schema.field(name).nullable and rows[name].null_count():
            raise ValidationFailed(
                f"{artifact_type.name}: the upgrade from schema version {schema_version} leaves a"
                f" null in column {name}, which has none"
            )


def _check_types(made: pl.Schema, artifact_type: ArtifactType, schema_version: int) -> None:
    declared = _polars_schema(artifact_type)
    for name, dtype in made.items():
        if dtype != declared[name]:
            raise ValidationFailed(
                f"{artifact_type.name}: the upgrade from schema version {schema_version} makes"
                f" column {name} {dtype}, must be {declared[name]}; cast it in its rule"
            )


def _polars_schema(artifact_type: ArtifactType) -> pl.Schema:
    return pl.DataFrame(pl.from_arrow(artifact_type.empty())).schema
