"""What a user's own module adds to a lake: artifact types, assets, candle sources.

`QUANTLAB_TYPES_MODULE` names the module; it may have `ARTIFACT_TYPES` (a list of `ArtifactType`),
`ASSETS` (a list of `domain.assets.Asset`) and `CANDLE_SOURCES` (schemes, each with a
`lake.sources.CandleSetup`). What is asked for is looked up and checked here; what it means is said
where the lab's own are. The module is imported when something of it is needed.
"""

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from quantlab_assets.domain.assets import ASSETS, Asset, Assets
from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.settings import TYPES_VARIABLE

if TYPE_CHECKING:
    from quantlab_assets.domain.artifacts.type import ArtifactType


def artifact_types(module: str | None) -> "list[ArtifactType]":
    """The seed types and the module's own. Raises `ValidationFailed`, as all here do, if the module
    cannot be imported or lists something else."""
    from quantlab_assets.domain.artifacts.seed_types import SEED_TYPES
    from quantlab_assets.domain.artifacts.type import ArtifactType

    own: list[ArtifactType] = _listed(module, "ARTIFACT_TYPES", ArtifactType, needed=True)
    return [*SEED_TYPES, *own]


def assets(module: str | None) -> Assets:
    """The lab's own assets and the module's."""
    own: list[Asset] = _listed(module, "ASSETS", Asset)
    try:
        return Assets((*ASSETS, *own)) if own else ASSETS
    except ValidationFailed as error:
        raise ValidationFailed(f"{TYPES_VARIABLE}: {module}: {error}") from error


def candle_sources(module: str | None) -> Mapping[str, Any]:
    """The module's own candle sources by scheme."""
    own = {} if module is None else getattr(_imported(module), "CANDLE_SOURCES", {})
    if not isinstance(own, Mapping) or not all(isinstance(scheme, str) for scheme in own):
        raise ValidationFailed(
            f"{TYPES_VARIABLE}: CANDLE_SOURCES of {module} must be a dict from schemes, such as"
            " 'parquet-lake', to a CandleSetup"
        )
    return own


def named(path: str) -> Any:
    """The object that `module:name` names. Raises `ValidationFailed` if there is none."""
    module, _, name = path.partition(":")
    try:
        return getattr(_imported(module), name)
    except AttributeError as error:
        raise ValidationFailed(f"{TYPES_VARIABLE}: {module} has no {name!r}") from error


def _listed(module: str | None, name: str, kind: type, *, needed: bool = False) -> list[Any]:
    if module is None:
        return []
    listed = getattr(_imported(module), name, None if needed else ())
    if not isinstance(listed, Iterable) or isinstance(listed, str | Mapping):
        listed = None
    items = None if listed is None else list(listed)
    if items is None or not all(isinstance(item, kind) for item in items):
        raise ValidationFailed(
            f"{TYPES_VARIABLE}: {module} must have {name}, a list of {kind.__name__}"
        )
    return items


def _imported(module: str) -> Any:
    try:
        return import_module(module)
    except Exception as error:  # Whatever somebody's module may raise.
        raise ValidationFailed(
            f"{TYPES_VARIABLE}: cannot import {module!r}: {type(error).__name__}: {error};"
            " install it, or put its folder on PYTHONPATH"
        ) from error
