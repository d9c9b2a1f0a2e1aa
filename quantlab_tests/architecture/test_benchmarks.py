"""Benchmarks are run by hand: that each still imports what it times is looked at here."""

import importlib
import pkgutil

import pytest

from quantlab_tests import benchmarks

NAMES = sorted(module.name for module in pkgutil.iter_modules(benchmarks.__path__))


def test_there_are_benchmarks() -> None:
    assert {"alerts", "simulation", "store"} <= set(NAMES)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "__main__"])
def test_a_benchmark_imports_what_it_times(name: str) -> None:
    importlib.import_module(f"quantlab_tests.benchmarks.{name}")
