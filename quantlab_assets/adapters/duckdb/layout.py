"""In which order the artifacts of a table stand, so that adding some leaves the others in place.

Rows stand in the order of their artifacts, and inside an artifact in its canonical order. A table
that can only be built anew has its artifacts by logical key: candles by token and window, alerts by
day. A table that grows cannot keep that order without being written anew for each artifact, so
those that came before the largest power of two stand by key, and the later ones behind them in the
order of arrival, by key where several came at once. What is added is appended, and the whole is put
in order once more whenever the lake has doubled. The rows of one token are thus in few places, and
zone maps find them.

The order follows from the manifest alone (when an artifact came never changes), so a table that
grew and one that is built anew are equal row for row.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from quantlab_assets.domain.artifacts.records import Artifact

SMALL: Final = 256
"""As many artifacts as are quicker written anew than laid out cleverly."""


def in_order(artifacts: Sequence[Artifact], arrivals: Mapping[str, int] | None) -> list[Artifact]:
    """The artifacts as their rows stand in a table; by key only if `arrivals` are not given."""
    if arrivals is None or not artifacts:
        return sorted(artifacts, key=_key)
    come = max(arrivals[artifact.artifact_id] for artifact in artifacts) + 1
    settled = come if come <= SMALL else 1 << (come.bit_length() - 1)
    batches: dict[datetime, int] = {}
    for artifact in artifacts:
        arrival = arrivals[artifact.artifact_id]
        batches[artifact.created_at] = min(arrival, batches.get(artifact.created_at, arrival))

    def place(artifact: Artifact) -> tuple[int, tuple[str, str]]:
        if arrivals[artifact.artifact_id] < settled:
            return (-1, _key(artifact))
        return (batches[artifact.created_at], _key(artifact))

    return sorted(artifacts, key=place)


def kept_in_place(old: Sequence[str], new: Sequence[str]) -> int:
    """How many of the first `new` artifacts can stay where they stand in `old`.

    The others, and those of `old` that are not among them, have to go; then the rest of `new` can
    be appended.
    """
    position = 0
    for kept, artifact_id in enumerate(new):
        while position < len(old) and old[position] != artifact_id:
            position += 1
        if position == len(old):
            return kept
        position += 1
    return len(new)


def _key(artifact: Artifact) -> tuple[str, str]:
    return (artifact.logical_key, artifact.artifact_id)
