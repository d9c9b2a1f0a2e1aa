"""Plain addition from left to right, so that a sum has one value on every machine.

`numpy.sum` adds in an order that depends on the length and the processor.
"""

import numpy as np

from quantlab_assets.simulation.compiled.arrays import Floats, compiled


def add_up(values: Floats) -> float:
    """Return the sum of `values`, in their order."""
    return float(_add_up(np.ascontiguousarray(values)))


@compiled
def _add_up(values: Floats) -> float:
    total = 0.0
    for value in values:
        total += value
    return total
