"""Questions in SQL to a lake: the standing projection of the research, and sessions over any.

What the projection holds is in `handlers.projections`, how it is asked in `adapters.duckdb`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from quantlab_assets.domain.assets import Assets

if TYPE_CHECKING:
    from quantlab_assets.adapters.duckdb import DuckdbProjections
    from quantlab_assets.adapters.duckdb.query import QuerySession
    from quantlab_assets.ports.projection_builder import Projection


class Queries:
    """What is asked of the projections of one lake. `assets` gives those that have tables."""

    def __init__(self, projections: "DuckdbProjections", assets: Callable[[], Assets]) -> None:
        self._projections = projections
        self._assets = assets

    def research(self) -> "Projection":
        """The projection of all that is active, built first if the lake has changed since."""
        from quantlab_assets.handlers.projections import build_research

        return build_research(self._projections, self._assets())

    @contextmanager
    def session(
        self, projection_id: str | None = None, *, timeout_s: float | None = None
    ) -> Iterator["QuerySession"]:
        """A projection (None: research) as it is now, to ask several things of.

        Raises what `Lake.sql` raises.
        """
        from quantlab_assets.adapters.duckdb.query import QuerySession

        name = self.research().projection_id if projection_id is None else projection_id
        with (
            self._projections.connect(name) as connection,
            QuerySession(connection, timeout_s=timeout_s) as session,
        ):
            yield session
