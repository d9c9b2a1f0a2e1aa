"""The artifact store: immutable Parquet files, each with a sidecar, and a SQLite manifest of them.

`files` alone touches the disk, `database` and `schema` hold what is particular to SQLite,
`publisher` keeps the write order that docs/store.md promises, `reader` and `lineage` answer
questions.
"""

from quantlab_assets.adapters.artifact_store.store import ParquetStore
from quantlab_assets.adapters.manifest.engine import ManifestDatabase

__all__ = ["ManifestDatabase", "ParquetStore"]
