"""The artifact types a lake knows, by name.

Apart from the types themselves, since those need Arrow, which costs as much to import as all the
rest of a command that only looks at the manifest: they are loaded when one is asked for.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property

from quantlab_assets.domain.artifacts.type import ArtifactType
from quantlab_assets.domain.errors import NotFound, ValidationFailed


class TypeRegistry:
    """The artifact types a lake knows: the seed types and whatever a user registered.

    Given the types, or what gives them once one is needed; without either the seed types.
    """

    def __init__(
        self, types: Iterable[ArtifactType] | Callable[[], Iterable[ArtifactType]] | None = None
    ) -> None:
        self._load: Callable[[], Iterable[ArtifactType]]
        if types is None:
            self._load = _seed_types
        elif callable(types):
            self._load = types
        else:
            given = tuple(types)
            self._load = lambda: given

    @cached_property
    def _types(self) -> dict[str, ArtifactType]:
        known: dict[str, ArtifactType] = {}
        for artifact_type in self._load():
            _add(known, artifact_type)
        return known

    def register(self, artifact_type: ArtifactType) -> None:
        """Add a type, with the earlier versions that its upgrade names.

        Raises `ValidationFailed` if the name is taken or not a safe path segment, or the upgrade
        does not give what the type declares.
        """
        _add(self._types, artifact_type)

    def get(self, name: str, schema_version: int | None = None) -> ArtifactType:
        """The type of that name: its newest version, or the one asked for.

        Raises `NotFound`, or `ValidationFailed` for a version that is not known.
        """
        newest = self._types.get(name)
        if newest is None:
            known = ", ".join(sorted(self._types))
            raise NotFound(f"unknown artifact type {name!r}; known: {known}")
        return newest if schema_version is None else newest.version(schema_version)

    def __iter__(self) -> Iterator[ArtifactType]:
        """The newest version of each type."""
        return iter(self._types.values())


def _add(known: dict[str, ArtifactType], artifact_type: ArtifactType) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", artifact_type.name):
        raise ValidationFailed(
            f"artifact type {artifact_type.name!r}: use lower-case letters, digits and underscores"
        )
    if artifact_type.name in known:
        raise ValidationFailed(f"artifact type {artifact_type.name!r} is registered already")
    # Those of the lab are checked by a test: checking loads Polars, and most commands need none.
    if artifact_type.upgrade is not None and not _is_of_the_lab(artifact_type):
        from quantlab_assets.domain.artifacts.upgrade import check_upgrades

        check_upgrades(artifact_type)
    known[artifact_type.name] = artifact_type


def _is_of_the_lab(artifact_type: ArtifactType) -> bool:
    return any(artifact_type is seed for seed in _seed_types())


def _seed_types() -> Iterable[ArtifactType]:
    from quantlab_assets.domain.artifacts.seed_types import SEED_TYPES

    return SEED_TYPES
