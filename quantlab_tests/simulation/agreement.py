"""What it means that the engine and the reference agree: the same frames, bit for bit."""

from typing import Protocol

import polars as pl
from polars.testing import assert_frame_equal

from quantlab_assets.simulation.results.metrics import AMBIGUITY_METRIC_NAMES


class Result(Protocol):
    @property
    def trades(self) -> pl.DataFrame: ...
    @property
    def metrics(self) -> pl.DataFrame: ...
    @property
    def curves(self) -> pl.DataFrame: ...
    @property
    def diagnostics(self) -> pl.DataFrame: ...


def assert_agrees(engine: Result, reference: Result) -> None:
    """The reference knows no ambiguity metrics, and messages are for people."""
    assert_frame_equal(engine.trades, reference.trades, check_exact=True)
    assert_frame_equal(engine.curves, reference.curves, check_exact=True)
    both = engine.metrics.filter(~pl.col("metric_name").is_in(AMBIGUITY_METRIC_NAMES))
    assert_frame_equal(both, reference.metrics, check_exact=True)
    assert_frame_equal(engine.diagnostics.drop("message"), reference.diagnostics.drop("message"))


def assert_same(left: Result, right: Result) -> None:
    for part in ("trades", "metrics", "curves", "diagnostics"):
        assert_frame_equal(getattr(left, part), getattr(right, part), check_exact=True)
