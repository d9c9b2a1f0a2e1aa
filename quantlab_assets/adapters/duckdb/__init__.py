"""Disposable DuckDB files built from artifacts; see docs/projections.md."""

from quantlab_assets.adapters.duckdb.limits import ProjectionLimits
from quantlab_assets.adapters.duckdb.projections import DuckdbProjections

__all__ = ["DuckdbProjections", "ProjectionLimits"]
