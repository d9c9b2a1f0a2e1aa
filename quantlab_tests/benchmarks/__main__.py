"""Run a benchmark by name: `python -m quantlab_tests.benchmarks NAME [arguments]`."""

import pkgutil
import sys
from importlib import import_module

from quantlab_tests import benchmarks


def main(argv: list[str]) -> int:
    """Run the benchmark named first with the other arguments; list them all if none is named."""
    names = sorted(each.name for each in pkgutil.iter_modules(benchmarks.__path__))
    names = [name for name in names if not name.startswith("_")]
    if not argv or argv[0] not in names:
        print("usage: python -m quantlab_tests.benchmarks NAME [arguments]", file=sys.stderr)
        print("\n".join(names))
        return 0 if not argv else 2
    import_module(f"{benchmarks.__name__}.{argv[0]}").main(argv[1:])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
