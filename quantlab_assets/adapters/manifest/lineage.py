"""Where an artifact came from, and what came of it: the graph of publications and their inputs.

One recursive query finds what can be reached, through frozen input sets too; depths are counted
over the edges it finds. An artifact is met once, so a graph in which contents were made from one
another in turn ends all the same. What is asked of artifacts one at a time is in `find`.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from sqlalchemy import CTE, Connection, Select, and_, literal, select, union_all

from quantlab_assets.adapters.manifest.engine import ManifestDatabase, in_lists
from quantlab_assets.adapters.manifest.rows import artifacts_by_id, resolve, sources_of
from quantlab_assets.adapters.manifest.tables import input_set_members, lineage, publications
from quantlab_assets.domain.artifacts.records import Lineage, LineageEdge, Role, SourceEdge

_COUNTED: Final = 1000
"""Up to here the query itself counts steps; beyond, contents made in turn would keep it busy."""

_Edge = tuple[str, str, Role, int]


class LineageReader:
    """Walks the graph in both directions."""

    def __init__(self, database: ManifestDatabase) -> None:
        self._database = database

    def upstream(self, artifact_id: str, depth: int | None, *, all_publications: bool) -> Lineage:
        """See `get_lineage` of the port."""
        with self._database.reading() as connection:
            root = resolve(connection, [artifact_id])[artifact_id].artifact_id
            edges = _edges(first_only=not all_publications)
            reached = _reached(connection, edges, root, depth, walk="artifact_id", to="input_id")
            incident = _incident(connection, edges, reached, "artifact_id")
            distances = _distances(root, [(edge[0], edge[1]) for edge in incident], depth)
            return self._lineage(
                connection,
                root,
                _within(incident, distances, depth, nearer=0),
                sourced=[
                    reached_id
                    for reached_id, at in distances.items()
                    if depth is None or at < depth
                ],
                first_only=not all_publications,
            )

    def downstream(self, artifact_id: str, depth: int | None) -> Lineage:
        """See `get_downstream` of the port: over all publications, since each is a use."""
        with self._database.reading() as connection:
            root = resolve(connection, [artifact_id])[artifact_id].artifact_id
            edges = _edges(first_only=False)
            reached = _reached(connection, edges, root, depth, walk="input_id", to="artifact_id")
            incident = _incident(connection, edges, reached, "input_id")
            distances = _distances(root, [(edge[1], edge[0]) for edge in incident], depth)
            return self._lineage(
                connection,
                root,
                _within(incident, distances, depth, nearer=1),
                sourced=[],
                first_only=False,
            )

    def _lineage(
        self,
        connection: Connection,
        root: str,
        edges: list[LineageEdge],
        *,
        sourced: list[str],
        first_only: bool,
    ) -> Lineage:
        named = {root, *(edge.artifact_id for edge in edges), *(edge.input_id for edge in edges)}
        raw = sources_of(connection, sorted(sourced), first_only=first_only)
        edges.sort(
            key=lambda edge: (edge.depth, edge.artifact_id, edge.input_id, edge.publication_id)
        )
        return Lineage(
            root=root,
            edges=tuple(edges),
            artifacts=dict(sorted(artifacts_by_id(connection, sorted(named)).items())),
            sources=tuple(
                SourceEdge(artifact_id, source)
                for artifact_id in sorted(raw)
                for source in raw[artifact_id]
            ),
        )


def _within(
    incident: Iterable[_Edge],
    distances: Mapping[str, int],
    depth: int | None,
    *,
    nearer: Literal[0, 1],
) -> list[LineageEdge]:
    """The edges that a walk of `depth` steps takes, with the step each stands at. `nearer` says
    which of an edge's two ends (0: the artifact, 1: what it was made from) the walk comes from."""
    return [
        LineageEdge(made, made_from, role, publication_id, depth=at + 1)
        for edge in incident
        for made, made_from, role, publication_id in [edge]
        if (at := distances.get(edge[nearer])) is not None and (depth is None or at < depth)
    ]


def _edges(*, first_only: bool) -> CTE:
    """(artifact_id, input_id, role, publication_id) of every input, frozen sets spread out."""
    direct = select(
        publications.c.artifact_id,
        lineage.c.input_artifact_id.label("input_id"),
        lineage.c.role,
        lineage.c.publication_id,
    ).where(
        publications.c.publication_id == lineage.c.publication_id,
        lineage.c.input_artifact_id.is_not(None),
    )
    through_sets = select(
        publications.c.artifact_id,
        input_set_members.c.artifact_id.label("input_id"),
        lineage.c.role,
        lineage.c.publication_id,
    ).where(
        publications.c.publication_id == lineage.c.publication_id,
        input_set_members.c.input_set_id == lineage.c.input_set_id,
    )
    if first_only:
        direct = direct.where(publications.c.deduped.is_(False))
        through_sets = through_sets.where(publications.c.deduped.is_(False))
    return union_all(direct, through_sets).cte("edges")


def _reached(
    connection: Connection, edges: CTE, root: str, depth: int | None, *, walk: str, to: str
) -> list[str]:
    """What can be reached from the root in fewer than `depth` steps, the root included.

    May be more if `depth` is large: the steps are counted again over what was found.
    """
    if depth is not None and depth < 1:
        return []
    if depth is None or depth > _COUNTED:
        reached = select(literal(root).label("id")).cte("reached", recursive=True)
        reached = reached.union(select(edges.c[to]).where(edges.c[walk] == reached.c.id))
    else:
        steps = select(literal(root).label("id"), literal(0).label("step"))
        reached = steps.cte("reached", recursive=True)
        reached = reached.union(
            select(edges.c[to], reached.c.step + 1).where(
                and_(edges.c[walk] == reached.c.id, reached.c.step < depth - 1)
            )
        )
    query: Select[Any] = select(reached.c.id).distinct()
    return list(connection.scalars(query))


def _incident(connection: Connection, edges: CTE, ids: list[str], column: str) -> list[_Edge]:
    """The edges that start at these artifacts, each once for a publication."""
    roles: dict[tuple[str, str, int], Role] = {}
    for some in in_lists(ids):
        for row in connection.execute(select(edges).where(edges.c[column].in_(some))):
            place = (row.artifact_id, row.input_id, row.publication_id)
            # An input can be named alone and in a set; what was loaded stays loaded.
            if roles.get(place) != "loaded":
                roles[place] = row.role
    return [
        (artifact_id, input_id, role, publication_id)
        for (artifact_id, input_id, publication_id), role in roles.items()
    ]


def _distances(root: str, steps: list[tuple[str, str]], depth: int | None) -> dict[str, int]:
    """How many steps each artifact is from the root, at the least."""
    onward: dict[str, set[str]] = {}
    for start, end in steps:
        onward.setdefault(start, set()).add(end)
    distances = {root: 0}
    frontier = [root]
    while frontier and (depth is None or distances[frontier[0]] < depth):
        following: dict[str, None] = {}
        for near in frontier:
            for far in onward.get(near, ()):
                if far not in distances:
                    distances[far] = distances[near] + 1
                    following[far] = None
        frontier = list(following)
    return distances
