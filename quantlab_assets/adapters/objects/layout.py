"""Where artifacts' bytes lie: the names of their files under the artifacts root, and back.

    alerts_v1/v1/3f/3f0c...9a.parquet     the rows of artifact 3f0c...9a, of alerts_v1 in version 1
    alerts_v1/v1/3f/3f0c...9a.json        its sidecar

A path is made of a type, a version and hex digits, so nothing that somebody typed reaches a file
name. What is done with files is said in `local_disk`.
"""

import re
from typing import Final

_ARTIFACT_FILE: Final = re.compile(
    r"[a-z][a-z0-9_]{0,62}/v\d{1,9}/[0-9a-f]{2}/([0-9a-f]{32})\.(?:parquet|json)"
)
_STAGED: Final = re.compile(r"[0-9a-f]{32}")


def parquet_path(artifact_type: str, schema_version: int, artifact_id: str) -> str:
    """Where an artifact's file is, relative to the artifacts root."""
    return f"{artifact_type}/v{schema_version}/{artifact_id[:2]}/{artifact_id}.parquet"


def sidecar_path(path: str) -> str:
    """Where the sidecar of an artifact's file is."""
    return f"{path.removesuffix('.parquet')}.json"


def artifact_id_in(path: str) -> str | None:
    """The artifact that a file belongs to by its path; None for a path of another shape."""
    named = _ARTIFACT_FILE.fullmatch(path)
    return named[1] if named else None


def is_staged(name: str) -> bool:
    """Whether a file of the staging folder has a name that the store gives there."""
    return _STAGED.fullmatch(name) is not None
