"""Which code runs, and where: the git state of the package's checkout, versions, threads, process.

Recorded with every publication and every run, never part of any content. Environment variables are
not recorded: they hold secrets.
"""

import hashlib
import os
import platform
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from quantlab_assets.adapters.whole_files import written

PACKAGES: Final = (
    "quantlab-assets",
    "dagster",
    "duckdb",
    "numba",
    "numpy",
    "pandera",
    "polars",
    "pyarrow",
)
_THREAD_POOLS: Final[tuple[tuple[str, Callable[[ModuleType], int]], ...]] = (
    ("numba", lambda numba: int(numba.config.NUMBA_NUM_THREADS)),
    ("polars", lambda polars: int(polars.thread_pool_size())),
    ("pyarrow", lambda pyarrow: int(pyarrow.cpu_count())),
)


@dataclass(frozen=True, slots=True)
class CodeState:
    """The commit the package runs from, and whether files differ from it.

    `diff` is what differs, files that git does not know yet included, as `git apply` takes it;
    `git_diff_hash` is its hash. All None outside a git checkout: an installed package is named by
    its version.
    """

    git_commit: str | None
    git_dirty: bool | None
    git_diff_hash: str | None
    diff: bytes | None = None


@lru_cache(maxsize=1)
def code_state() -> CodeState:
    """The git state of the checkout that this package is imported from; read once a process."""
    return state_of(Path(__file__).resolve().parents[2])


def state_of(root: Path) -> CodeState:
    """The git state of the package in the checkout `root`."""
    if not (root / ".git").exists():
        return CodeState(None, None, None)
    commit = _git(root, "rev-parse", "HEAD")
    changed = _git(root, "diff", "--binary", "HEAD", "--", "quantlab_assets")
    added = _git(root, "ls-files", "-z", "--others", "--exclude-standard", "--", "quantlab_assets")
    if commit is None or changed is None or added is None:
        return CodeState(None, None, None)
    parts = [changed]
    for name in sorted(filter(None, added.decode(errors="surrogateescape").split("\0"))):
        part = _git(root, "diff", "--binary", "--no-index", "--", os.devnull, name)
        parts.append(part or b"")
    diff = b"".join(parts)
    digest = f"sha256:{hashlib.sha256(diff).hexdigest()}" if diff else None
    return CodeState(commit.decode().strip(), bool(diff), digest, diff or None)


def keep_diff(folder: Path, code: CodeState) -> Path | None:
    """Keep the diff in `folder` under the name of its hash; None if there is none."""
    if code.diff is None or code.git_diff_hash is None:
        return None
    path = folder / f"{code.git_diff_hash.removeprefix('sha256:')}.patch"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    diff = code.diff
    with written(folder, lambda to: to.write(diff), mode=0o444) as staged:
        staged.replace(path)
    return path


def environment() -> dict[str, Any]:
    """Python, platform, the versions of the packages that results depend on, and thread counts."""
    return {**_installation(), "threads": thread_counts()}


def thread_counts() -> dict[str, int]:
    """How many processors this process may use, and the pools of the libraries it has loaded."""
    affinity = getattr(os, "sched_getaffinity", None)
    counts = {"processors": len(affinity(0)) if affinity else os.cpu_count() or 1}
    for name, ask in _THREAD_POOLS:
        module = sys.modules.get(name)
        if module is not None:
            counts[name] = ask(module)
    return counts


def this_process() -> dict[str, Any]:
    """Host, process id and, where the system tells it, when the process began (UTC)."""
    started = _started_at()
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "process_started": started.isoformat() if started else None,
    }


@lru_cache(maxsize=1)
def _installation() -> dict[str, Any]:
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


def _started_at() -> datetime | None:
    try:
        # Fields after the command, which stands in parentheses and may hold anything.
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        boot = next(
            int(line.split()[1])
            for line in Path("/proc/stat").read_text().splitlines()
            if line.startswith("btime ")
        )
        return datetime.fromtimestamp(boot + int(fields[19]) / os.sysconf("SC_CLK_TCK"), UTC)
    except (OSError, ValueError, IndexError, StopIteration):
        return None


def _git(root: Path, *arguments: str) -> bytes | None:
    """What git prints; None if it cannot. A difference outside its index is its exit code 1."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments
            ["git", "-C", str(root), *arguments],  # noqa: S607 - whichever git the user has
            capture_output=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    answered = done.returncode == 0 or (done.returncode == 1 and "--no-index" in arguments)
    return done.stdout if answered else None
