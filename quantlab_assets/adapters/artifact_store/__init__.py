"""The artifact store: immutable Parquet files with a sidecar each, listed in the manifest.

`publish` keeps the write order that docs/store.md promises, `read` answers questions, `store` is
the port's face of both. Bytes are `adapters.objects`', SQL is `adapters.manifest`'s.
"""

from quantlab_assets.adapters.artifact_store.store import ParquetStore
from quantlab_assets.adapters.manifest.engine import ManifestDatabase

__all__ = ["ManifestDatabase", "ParquetStore"]
