"""The simulation engine: alerts, candles and a strategy in, trades and what to think of them out.

A result depends on its inputs alone. What belongs here is arithmetic over arrays and frames;
reading, storing and choosing inputs belong elsewhere. The rules are written down in
docs/simulation.md.

Start with `engine`, which tells the story; `kernel.step` is the heart of it. Importing this package
is cheap: the engine and its compiler load on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quantlab_assets.simulation.engine import simulate
    from quantlab_assets.simulation.frames import SimulationResult
    from quantlab_assets.simulation.sweep import simulate_many
    from quantlab_assets.simulation.version import engine_version

__all__ = ["SimulationResult", "engine_version", "simulate", "simulate_many"]

_HOMES = {
    "SimulationResult": "frames",
    "engine_version": "version",
    "simulate": "engine",
    "simulate_many": "sweep",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
