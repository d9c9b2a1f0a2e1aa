"""The array types of the engine, and how loops over arrays are compiled.

All times are whole microseconds since 1970, UTC (`domain.time_us`).
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

from quantlab_assets.simulation.version import engine_version

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int8]
Flags = npt.NDArray[np.bool_]

Loop = TypeVar("Loop", bound=Callable[..., Any])


def compiled(loop: Loop) -> Loop:
    """Compile `loop` on first use and keep it on disk.

    It releases the interpreter lock. Arithmetic is exact IEEE: nothing is reordered or contracted,
    so that a result has the same bits on every machine.
    """
    return _compile(loop)


def inlined(loop: Loop) -> Loop:
    """Compile `loop` into its callers: for small steps with many arguments."""
    return _compile(loop, forceinline=True)


def _compile(loop: Loop, *, forceinline: bool = False) -> Loop:
    options = {"nogil": True, "error_model": "numpy", "forceinline": forceinline}
    try:
        fast = numba.njit(cache=True, **options)(loop)  # type: ignore[call-overload]
        # numba only notices a change in the file of the loop itself, not in one that it calls: a
        # walk compiled with older rules would be used. The engine's version covers all files.
        # (A private name of numba; a test pins what it does.)
        fast._cache._cache_file._source_stamp = engine_version()
    except (RuntimeError, AttributeError):
        # Nothing is kept if neither the package's folder nor the user's cache can be written, if
        # numba keeps it in another way, or if it is told not to compile (NUMBA_DISABLE_JIT).
        fast = numba.njit(**options)(loop)  # type: ignore[call-overload]
    return cast("Loop", fast)


def frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Make `array` read-only, as those that share memory with a frame are.

    A loop is compiled anew for each mixture of read-only and writable arguments.
    """
    array.flags.writeable = False
    return array
