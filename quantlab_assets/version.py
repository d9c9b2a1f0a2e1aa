"""The package's version, the only place that has it: `pyproject.toml` and `__init__` read it here.

Which engine computed a result, by its sources, is told by `simulation.version`.
"""

from typing import Final

__version__: Final = "0.1.0"
