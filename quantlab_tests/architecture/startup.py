"""What a command comes to, and which slow packages it has imported."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

SLOW = ["dagster", "pandera", "polars", "pandas", "numba", "duckdb"]


PROBE = """
import json, sys
from quantlab_assets.cli.main import main
code = main(json.loads(sys.argv[1]))
slow = [name for name in json.loads(sys.argv[2]) if name in sys.modules]
print(json.dumps({"code": code, "slow": slow}), file=sys.stderr)
"""


def outcome(arguments: list[str], folder: Path, slow: Sequence[str] = SLOW) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(arguments), json.dumps(slow)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    result: dict[str, object] = json.loads(done.stderr.splitlines()[-1])
    return result
