"""Which code runs, and where: the git state of the package's checkout, and the versions in use.

Recorded with every publication, never part of any content. Environment variables are not recorded:
they hold secrets.
"""

import hashlib
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "quantlab-assets",
    "dagster",
    "duckdb",
    "numba",
    "numpy",
    "pandera",
    "polars",
    "pyarrow",
)


@dataclass(frozen=True, slots=True)
class CodeState:
    """The commit the package runs from, and whether files differ from it (with the diff's hash).

    All None outside a git checkout: an installed package is named by its version.
    """

    git_commit: str | None
    git_dirty: bool | None
    git_diff_hash: str | None


@lru_cache(maxsize=1)
def code_state() -> CodeState:
    """The git state of the checkout that this package is imported from; read once a process."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return CodeState(None, None, None)
    commit = _git(root, "rev-parse", "HEAD")
    diff = _git(root, "diff", "HEAD", "--", "quantlab_assets")
    if commit is None or diff is None:
        return CodeState(None, None, None)
    digest = f"sha256:{hashlib.sha256(diff).hexdigest()}" if diff else None
    return CodeState(commit.decode().strip(), bool(diff), digest)


@lru_cache(maxsize=1)
def environment() -> dict[str, Any]:
    """Python, platform and the versions of the packages that results depend on."""
    packages = {}
    for name in PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "not installed"
    return {
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "platform": platform.platform(),
        "cpu_count": os.cpu_count() or 1,
        "packages": packages,
    }


def _git(root: Path, *arguments: str) -> bytes | None:
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments
            ["git", "-C", str(root), *arguments],  # noqa: S607 - whichever git the user has
            capture_output=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
