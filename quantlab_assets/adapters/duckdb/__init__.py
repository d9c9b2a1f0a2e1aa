"""Disposable DuckDB files built from artifacts; see docs/projections.md.

The only code that speaks to DuckDB. What is in them can be built again: nothing here is the truth,
and nothing here writes an artifact.
"""

from quantlab_assets.adapters.duckdb.limits import ProjectionLimits
from quantlab_assets.adapters.duckdb.projections import DuckdbProjections

__all__ = ["DuckdbProjections", "ProjectionLimits"]
