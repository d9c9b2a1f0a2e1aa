"""An experiment as one JSON document, which travels in a bundle to the ledger of another lake.

The document has the rows of the ledger, the ids of the frozen inputs, and the uncommitted code
changes that runs were made with. It may come from anybody: nothing in it is taken on trust. It is
read from the ledger, and taken into it, in `tracker`.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Row

from quantlab_assets.adapters.code_provenance import CodeState, keep_diff
from quantlab_assets.adapters.manifest.ledger.rows import to_definition
from quantlab_assets.domain.artifacts.identity import canonical_json
from quantlab_assets.domain.artifacts.records import SHA256
from quantlab_assets.domain.errors import IntegrityError, ValidationFailed
from quantlab_assets.domain.experiments.records import ExperimentDefinition, ExperimentEvent
from quantlab_assets.domain.time_us import to_us

FORMAT: Final = 1
_COLUMNS: Final = (
    "experiment_id",
    "status",
    "engine_version",
    "parent_id",
    "created_at",
    "started_at",
    "completed_at",
)
"""Columns of `experiments` that travel as they are."""


@dataclass(frozen=True, slots=True)
class Carried:
    """What a document tells: the definition, the columns that travel as they are, the outputs by
    part, the rows of its events, and code changes by hash."""

    definition: ExperimentDefinition
    values: Mapping[str, Any]
    outputs: Mapping[str, str]
    events: Sequence[Mapping[str, Any]]
    patches: Mapping[str, Any]

    @property
    def completed(self) -> bool:
        """Whether it has results; else it is to be run again."""
        return bool(self.values["status"] == "completed")


def to_document(
    row: Row[Any],
    alerts: Sequence[str],
    slices: Sequence[str],
    events: Sequence[ExperimentEvent],
    code: Path,
) -> dict[str, Any]:
    """The document of a row of `experiments`; `code` is the folder of code changes."""
    hashes = {event.details.get("git_diff_hash") for event in events}
    return {
        "format": FORMAT,
        "name": row.name,
        "definition": json.loads(row.definition_json),
        "alerts": list(alerts),
        "slices": list(slices),
        "outputs": json.loads(row.outputs_json or "{}"),
        **{name: getattr(row, name) for name in _COLUMNS},
        "events": [
            {
                "at": to_us(event.at),
                "old_status": event.old_status,
                "new_status": event.new_status,
                "error": event.error,
                "details": dict(event.details),
            }
            for event in events
        ],
        "patches": {
            diff_hash: text
            for diff_hash in sorted(filter(None, hashes))
            if (text := _patch(diff_hash, code))
        },
    }


def from_document(document: Mapping[str, Any]) -> Carried:
    """What a document tells.

    Raises `ValidationFailed` for what is no such document, `IntegrityError` if its id does not fit.
    """
    try:
        if document["format"] != FORMAT:
            raise ValidationFailed(
                f"an experiment in format {document['format']!r}: upgrade quantlab to read it"
            )
        definition = to_definition(
            str(document["name"]),
            document["definition"],
            str(document["engine_version"]),
            alerts=tuple(sorted(map(str, document["alerts"]))),
            slices=tuple(sorted(map(str, document["slices"]))),
        )
        events = [_event_row(event) for event in document["events"]]
        outputs = {str(part): str(artifact) for part, artifact in document["outputs"].items()}
        values = {name: document[name] for name in _COLUMNS}
        times = [values[name] for name in ("created_at", "started_at", "completed_at")]
        patches = dict(document["patches"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValidationFailed(f"this is no experiment of a lake: {error!r}") from None
    if definition.experiment_id != values["experiment_id"]:
        raise IntegrityError(
            f"the definition belongs to {definition.experiment_id}, not to"
            f" {str(values['experiment_id'])[:40]}: the document was altered"
        )
    if not all(at is None or isinstance(at, int) for at in times):
        raise ValidationFailed("the times of an experiment are whole microseconds")
    return Carried(definition, values, outputs, events, patches)


def keep_patches(patches: Mapping[str, Any], code: Path) -> None:
    """Keep code changes in the folder `code`. Raises `IntegrityError` if one was altered."""
    for diff_hash, text in patches.items():
        content = str(text).encode()
        if f"sha256:{hashlib.sha256(content).hexdigest()}" != diff_hash:
            raise IntegrityError(f"the code changes {str(diff_hash)[:80]} were altered")
        keep_diff(code, CodeState(None, True, diff_hash, content))


def _patch(diff_hash: str, code: Path) -> str | None:
    """The uncommitted changes of that hash, if they are kept here and are text."""
    if not SHA256.fullmatch(diff_hash):
        return None
    try:
        return (code / f"{diff_hash.removeprefix('sha256:')}.patch").read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        return None


def _event_row(event: Mapping[str, Any]) -> dict[str, Any]:
    details = canonical_json(dict(event["details"])).decode() if event["details"] else None
    return {
        "at": int(event["at"]),
        "old_status": event["old_status"],
        "new_status": str(event["new_status"]),
        "detail": event["error"] if event["error"] is not None else details,
    }
