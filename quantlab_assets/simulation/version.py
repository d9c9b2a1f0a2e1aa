"""The version of the engine: a result is only an answer to the code that computed it."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Final

from quantlab_assets.version import __version__

_BESIDE: Final = ("domain/experiments/strategy.py", "domain/time_us.py")
"""Modules of the domain that decide a result too: the strategy model, and the unit of times."""


@cache
def engine_version() -> str:
    """Return `<package version>+<sha256>` of the engine that is running."""
    return version_of(Path(__file__).parents[1])


def version_of(package: Path) -> str:
    """Return the version of the engine whose sources are in the folder `package`.

    The digest is over the modules that decide a result, this package's and those of `_BESIDE`, by
    name: each as its name, its length and its bytes, so that no two sets of files run into the same
    text.
    """
    names = [
        path.relative_to(package).as_posix() for path in (package / "simulation").rglob("*.py")
    ]
    digest = hashlib.sha256()
    for name in sorted([*names, *_BESIDE]):
        content = (package / name).read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return f"{__version__}+{digest.hexdigest()}"
