"""The version of the engine: a result is only an answer to the code that computed it."""

import hashlib
from functools import cache
from pathlib import Path

import quantlab_assets


@cache
def engine_version() -> str:
    """Return `<package version>+<sha256>` over the sources that decide a result.

    Those are the modules of this package and the strategy model, by path, each as its path, its
    length and its bytes, so that no two sets of files run together into the same text.
    """
    root = Path(quantlab_assets.__file__).parent
    sources = sorted(
        path.relative_to(root).as_posix() for path in (root / "simulation").rglob("*.py")
    )
    digest = hashlib.sha256()
    for name in sorted([*sources, "domain/strategy.py"]):
        content = (root / name).read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return f"{quantlab_assets.__version__}+{digest.hexdigest()}"
