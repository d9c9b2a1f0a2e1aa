"""A lake for the commands that ingest, whose days run through the handlers without Dagster."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from quantlab_assets import open_lake
from quantlab_assets.cli.graph import runs as graph_module
from quantlab_assets.cli.ingest import telegram as ingest_module
from quantlab_assets.cli.main import main
from quantlab_assets.handlers.publish_partition import PublishedPartition
from quantlab_assets.settings import Settings
from quantlab_tests.handlers.ingest.without_dagster import ingest

Run = Callable[..., Any]

ON: ContextVar[str] = ContextVar("lake")
"""The lake of the command that runs."""


class Handlers:
    """In the place of the graph: the same handlers on the same days, without Dagster."""

    def days(self, asset: str) -> tuple[date, date]:
        return date(2020, 1, 1), date(2030, 1, 1)


@contextmanager
def handlers(settings: Settings) -> Iterator[Handlers]:
    yield Handlers()


def ingest_days(graph: Any, days: Sequence[date], progress: Any) -> Counter[str]:
    """What `materialise_days` does."""
    return figures(ingest(open_lake(ON.get()), days))


def figures(published: Sequence[PublishedPartition]) -> Counter[str]:
    counts: Counter[str] = Counter(new_artifacts=0, deduped_artifacts=0)
    for one in published:
        counts.update({n: v for n, v in one.counts.items() if isinstance(v, int)})
        deduped = sum(result.deduped for result in one.results)
        counts["deduped_artifacts"] += deduped
        counts["new_artifacts"] += len(one.results) - deduped
    return counts


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command on a lake; its JSON and what it said, or the exit code's message."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(graph_module, "open_graph", handlers)
    monkeypatch.setattr(ingest_module, "open_graph", handlers)
    monkeypatch.setattr(ingest_module, "materialise_days", ingest_days)

    def command(*arguments: str, lake: str = "lake", code: int = 0) -> Any:
        ON.set(lake)
        assert main([*arguments, "--lake", lake, "--format", "json"]) == code
        told = capsys.readouterr()
        return (json.loads(told.out), told.err) if code == 0 else told.err

    return command
