"""Disposable DuckDB files built from artifacts; see docs/projections.md."""

from quantlab_assets.adapters.duckdb_projection.limits import ProjectionLimits
from quantlab_assets.adapters.duckdb_projection.projections import DuckdbProjections

__all__ = ["DuckdbProjections", "ProjectionLimits"]
