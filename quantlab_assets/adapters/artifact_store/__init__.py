"""The artifact store: immutable Parquet files, each with a sidecar, and a manifest of them.

`store` is the port's adapter, `publish` keeps the write order that docs/store.md promises, `read`
checks files and reads their rows. Files lie as `objects` says, SQL is in `manifest`.
"""

from quantlab_assets.adapters.artifact_store.store import ParquetStore
from quantlab_assets.adapters.manifest.engine import ManifestDatabase

__all__ = ["ManifestDatabase", "ParquetStore"]
