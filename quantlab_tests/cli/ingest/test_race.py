"""Alerts are never left behind the messages that another ingestion published meanwhile."""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from quantlab_assets.cli.graph.graph import PartitionFigures
from quantlab_assets.cli.ingest.telegram import ATTEMPTS, EXTRACTED, MESSAGES, materialise_days
from quantlab_assets.domain.errors import Conflict

DAY = date(2025, 11, 7)
NEXT = DAY + timedelta(days=1)


class Lake:
    """Heads of messages, and a graph whose runs are noted; `meddle` runs after each of them."""

    def __init__(self, meddle: Callable[["Lake"], None]) -> None:
        self.heads: dict[str, list[str]] = {}
        self.runs: list[tuple[Sequence[str], tuple[date, date]]] = []
        self._meddle = meddle

    def get_heads(self, asset: str, partitions: Sequence[str]) -> dict[str, Any]:
        assert asset == MESSAGES
        return {
            day: [SimpleNamespace(artifact_id=one) for one in self.heads.get(day, [])]
            for day in partitions
        }

    def materialize(self, assets: Sequence[str], *, days: tuple[date, date], on_step: Any) -> Any:
        self.runs.append((assets, days))
        made = []
        if MESSAGES in assets:
            self.heads[DAY.isoformat()] = ["mine"]
            made = [PartitionFigures(MESSAGES, DAY.isoformat(), {"n": 1}, frozenset(["mine"]))]
        made += [
            PartitionFigures("alerts", DAY.isoformat(), {"alerts": len(self.runs)}, frozenset())
        ]
        self._meddle(self)
        return made

    def figures(self, run: Any) -> Any:
        return run


def ingest(meddle: Callable[[Lake], None]) -> tuple[Lake, dict[str, int]]:
    lake: Any = Lake(meddle)
    progress: Any = SimpleNamespace(steps=lambda _: None)
    return lake, materialise_days(lake, lake, [DAY], progress)


def test_alone_a_day_is_run_once() -> None:
    lake, counts = ingest(lambda _: None)
    assert [days for _, days in lake.runs] == [(DAY, DAY)]
    assert counts == {"n": 1, "alerts": 1}


@pytest.mark.parametrize("changed", [DAY, NEXT], ids=["the day", "the next day"])
def test_messages_that_change_meanwhile_are_extracted_again(changed: date) -> None:
    def once(lake: Lake) -> None:
        if len(lake.runs) == 1:
            lake.heads[changed.isoformat()] = ["theirs"]

    lake, counts = ingest(once)
    assert [assets for assets, _ in lake.runs] == [(MESSAGES, *EXTRACTED), EXTRACTED]
    assert counts["alerts"] == 2, "what the last extraction came to"


def test_messages_that_never_rest_are_said() -> None:
    def always(lake: Lake) -> None:
        lake.heads[DAY.isoformat()] = [str(len(lake.runs))]

    with pytest.raises(Conflict, match="others kept changing"):
        ingest(always)
    assert ATTEMPTS > 1
