"""Compute a completed experiment again, from the manifest alone, and say whether it is the same.

Nothing is published, recorded or left behind: the result is compared in memory with what is on
record, by content hash, and row by row where the hashes differ.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from quantlab_assets.domain.artifacts.canonical_order import canonical_table
from quantlab_assets.domain.artifacts.content_hash import content_hash
from quantlab_assets.domain.artifacts.identity import artifact_id_of
from quantlab_assets.domain.errors import (
    Conflict,
    IntegrityError,
    LostFile,
    NotFound,
    QuantlabError,
)
from quantlab_assets.domain.experiments.records import ExperimentRecord
from quantlab_assets.domain.experiments.reproduction import (
    FirstDifference,
    ReproducedPart,
    Reproduction,
)
from quantlab_assets.handlers.experiments.inputs import ResolvedInputs, listed
from quantlab_assets.handlers.experiments.run import (
    RESULT_TYPES,
    Simulate,
    compute,
    frozen_inputs,
    read_inputs,
    result_tables,
)
from quantlab_assets.ports.artifact_store import ArtifactStore
from quantlab_assets.ports.experiment_tracker import ExperimentTracker
from quantlab_assets.simulation import engine_version, simulate

if TYPE_CHECKING:
    import pyarrow as pa


def reproduce_experiment(
    store: ArtifactStore,
    tracker: ExperimentTracker,
    experiment_id: str,
    *,
    simulate: Simulate = simulate,
) -> Reproduction:
    """Compute the experiment again and judge.

    Inputs are judged before the engine: INPUT-CORRUPT (bytes do not match their hash, or a row of
    the manifest does not match its id), INPUT-MISSING (an artifact or its file is not here). Then
    ENGINE-DIFFERS if the engine is not the one on record; what this one makes of the inputs is
    told all the same. DRIFTED: the same engine gives other rows. IDENTICAL otherwise.

    Raises `NotFound` (the experiment), `Conflict` (it is not completed, or an input was
    tombstoned), `IntegrityError` (its record does not match its id).
    """
    record = tracker.get(experiment_id)
    if record.status != "completed":
        raise Conflict(
            f"experiment {experiment_id} is {record.status}: there is no result to reproduce;"
            " execute it first"
        )
    if record.definition.experiment_id != experiment_id:
        raise IntegrityError(
            f"experiment {experiment_id} is damaged: what the manifest has of it belongs to"
            f" {record.definition.experiment_id}; restore a backup"
        )
    inputs = _inputs(store, record)
    if isinstance(inputs, Reproduction):
        return inputs
    stale = tracker.superseded_inputs(experiment_id)
    notes = [f"{len(stale)} inputs have been superseded since; the frozen ones were used"]
    if record.definition.engine_version != engine_version():
        return _by_another_engine(store, record, inputs, simulate, notes if stale else [])
    tables = result_tables(compute(inputs, record.definition, simulate))
    return _judged(store, record, tables, notes if stale else [])


def _inputs(store: ArtifactStore, record: ExperimentRecord) -> ResolvedInputs | Reproduction:
    """The inputs' rows, or the verdict that they cannot be had."""
    definition = record.definition
    try:
        frozen = frozen_inputs(store, definition)
        altered = [
            artifact.artifact_id
            for artifact in frozen.all
            if artifact.artifact_id
            != artifact_id_of(
                artifact.artifact_type,
                artifact.schema_version,
                artifact.logical_key,
                artifact.content_hash,
            )
        ]
        if altered:
            return _unusable(record, missing=[], corrupt=altered, why="their rows were altered")
        return read_inputs(store, definition)
    except (NotFound, IntegrityError) as error:
        missing, corrupt = _sorted_out(store, definition.input_ids)
        return _unusable(record, missing, corrupt, str(error))


def _sorted_out(store: ArtifactStore, ids: Sequence[str]) -> tuple[list[str], list[str]]:
    """Which inputs are missing, and which are damaged. One by one: this is no hot path."""
    missing, corrupt = [], []
    for artifact_id in ids:
        try:
            store.verify_artifacts([artifact_id])
        except (NotFound, LostFile):
            missing.append(artifact_id)
        except IntegrityError:
            corrupt.append(artifact_id)
    return missing, corrupt


def _unusable(
    record: ExperimentRecord, missing: Sequence[str], corrupt: Sequence[str], why: str
) -> Reproduction:
    cure = "restore a backup, or import a bundle that has them"
    if corrupt or not missing:
        message = f"{listed(corrupt) or 'an input'} cannot be trusted ({why}); {cure}"
    else:
        message = f"{listed(missing)} cannot be read ({why}); {cure}"
    return Reproduction(
        experiment_id=record.experiment_id,
        verdict="INPUT-MISSING" if missing and not corrupt else "INPUT-CORRUPT",
        message=message,
        missing_inputs=tuple(missing),
        corrupt_inputs=tuple(corrupt),
    )


def _judged(
    store: ArtifactStore,
    record: ExperimentRecord,
    tables: "dict[str, pa.Table]",
    notes: Sequence[str],
) -> Reproduction:
    parts, difference, more = _compared(store, record, tables)
    drifted = [part.part for part in parts if not part.identical]
    if drifted:
        message = (
            f"the same inputs and engine give another result ({', '.join(drifted)});"
            f" first difference: {difference or 'unknown'}"
        )
    else:
        message = f"{', '.join(part.part for part in parts)}: the same content hashes"
    return Reproduction(
        experiment_id=record.experiment_id,
        verdict="DRIFTED" if drifted else "IDENTICAL",
        message=message,
        parts=parts,
        difference=difference,
        notes=(*notes, *more),
    )


def _by_another_engine(
    store: ArtifactStore,
    record: ExperimentRecord,
    inputs: ResolvedInputs,
    simulate: Simulate,
    notes: Sequence[str],
) -> Reproduction:
    recorded, present = record.definition.engine_version, engine_version()
    parts: tuple[ReproducedPart, ...] = ()
    difference = None
    try:
        tables = result_tables(compute(inputs, record.definition, simulate))
        parts, difference, more = _compared(store, record, tables)
        outcome = (
            "it gives the same result"
            if all(part.identical for part in parts)
            else f"it gives another result, first difference: {difference or 'unknown'}"
        )
    except QuantlabError as error:
        more = ()
        outcome = f"it refuses these inputs: {error}"
    return Reproduction(
        experiment_id=record.experiment_id,
        verdict="ENGINE-DIFFERS",
        message=(
            f"computed by engine {_short(recorded)}, this is {_short(present)}; {outcome}."
            " Install or check out the recorded one to reproduce it"
        ),
        parts=parts,
        difference=difference,
        notes=(*notes, *more),
    )


def _compared(
    store: ArtifactStore, record: ExperimentRecord, tables: "dict[str, pa.Table]"
) -> tuple[tuple[ReproducedPart, ...], FirstDifference | None, tuple[str, ...]]:
    parts: list[ReproducedPart] = []
    notes: list[str] = []
    difference: FirstDifference | None = None
    for part, kind in RESULT_TYPES.items():
        artifact = store.get_artifact(record.outputs[part])
        computed = canonical_table(tables[part], kind)
        computed_hash, recorded_hash = content_hash(computed), artifact.content_hash
        rows: pl.DataFrame | None = None
        try:
            if artifact.schema_version != kind.schema_version:
                # What an earlier version recorded is compared as everything reads it by now.
                rows = store.read_verified([artifact.artifact_id])
                recorded_hash = content_hash(canonical_table(rows.to_arrow(), kind))
            if recorded_hash == computed_hash:
                store.verify_artifacts([artifact.artifact_id])
            elif difference is None:
                rows = store.read_verified([artifact.artifact_id]) if rows is None else rows
                difference = first_difference(part, rows, pl.DataFrame(pl.from_arrow(computed)))
        except (NotFound, IntegrityError) as error:
            notes.append(f"the stored {part} cannot be read: {error}")
        parts.append(ReproducedPart(part, artifact.artifact_id, recorded_hash, computed_hash))
    return tuple(parts), difference, tuple(notes)


def first_difference(
    part: str, recorded: pl.DataFrame, reproduced: pl.DataFrame
) -> FirstDifference | None:
    """The first row, and in it the first column, that differs; None if nothing does.

    Both in canonical order. NaN equals NaN, null equals null, 0.0 equals -0.0, as in the hash.
    """
    common = min(recorded.height, reproduced.height)
    earliest: tuple[int, int] | None = None
    for place, column in enumerate(recorded.columns):
        differs = recorded[column].head(common).ne_missing(reproduced[column].head(common))
        row = differs.arg_max() if differs.any() else None
        if row is not None and (earliest is None or row < earliest[0]):
            earliest = (row, place)
    if earliest is None and recorded.height == reproduced.height:
        return None
    row, column_name = (
        (common, None) if earliest is None else (earliest[0], recorded.columns[earliest[1]])
    )
    return FirstDifference(
        part=part,
        row=row,
        column=column_name,
        recorded=None if column_name is None else recorded[column_name][row],
        reproduced=None if column_name is None else reproduced[column_name][row],
        recorded_rows=recorded.height,
        reproduced_rows=reproduced.height,
    )


def _short(version: str) -> str:
    release, _, digest = version.partition("+")
    return f"{release}+{digest[:12]}"
