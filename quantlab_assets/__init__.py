"""QuantLab assets: a research lab for crypto token calls.

Importing the package is cheap: the public names load their modules on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from quantlab_assets.version import __version__

if TYPE_CHECKING:
    from quantlab_assets.domain.artifacts.content_hash import content_hash
    from quantlab_assets.domain.experiments.strategy import Strategy
    from quantlab_assets.lake import open_lake
    from quantlab_assets.simulation import simulate

__all__ = ["Strategy", "__version__", "content_hash", "open_lake", "simulate"]

_HOMES = {
    "Strategy": "quantlab_assets.domain.experiments.strategy",
    "content_hash": "quantlab_assets.domain.artifacts.content_hash",
    "open_lake": "quantlab_assets.lake",
    "simulate": "quantlab_assets.simulation",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
