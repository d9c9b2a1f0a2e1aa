"""Alerts are never left behind the messages that another ingestion published meanwhile."""

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from quantlab_assets import open_lake
from quantlab_assets.cli.graph.runs import open_graph
from quantlab_assets.cli.ingest.telegram import materialise_days
from quantlab_assets.defs.assets import alerts
from quantlab_assets.domain.errors import Conflict
from quantlab_assets.lake import Lake
from quantlab_tests.defs.watched import export, say
from quantlab_tests.domain.telegram.alerts.chat_log import MINT, OTHER_MINT
from quantlab_tests.handlers.ingest.without_dagster import ingest

DAY = date(2025, 11, 7)
NEXT = DAY + timedelta(days=1)
CALL = say(DAY.isoformat(), 1, MINT)


class Race:
    """A lake with one call in its inbox; `meddle` runs between a read of messages and its use."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lake: Lake = open_lake(root, create=True)
        self.extractions = 0
        self._rivals = 0
        self._monkeypatch = monkeypatch
        self.drop(CALL)

    def drop(self, *messages: dict[str, object]) -> None:
        """Put an export into the inbox."""
        self._rivals += 1
        inbox = self.lake.settings.telegram_inbox
        (inbox / f"{self._rivals}.json").write_text(export(*messages))

    def rival(self, day: date) -> None:
        """Another ingestion publishes one more call of a day, and that day's alerts."""
        number = 10 + self._rivals
        self.drop(say(day.isoformat(), number, OTHER_MINT))
        ingest(open_lake(self.lake.settings), [day])

    def run(self, meddle: Callable[[], None]) -> Mapping[str, int]:
        """Ingest the day; the figures."""

        def slowly(days: Any, messages: Any, rules: Any) -> Any:
            self.extractions += 1
            meddle()
            return extract(days, messages, rules)

        extract = alerts.alerts_of_days
        self._monkeypatch.setattr(alerts, "alerts_of_days", slowly)
        progress: Any = SimpleNamespace(steps=lambda _: None)
        with open_graph(self.lake.settings) as graph:
            return materialise_days(graph, [DAY], progress)

    def heads(self, asset: str, day: date) -> set[str]:
        held = self.lake.store.get_heads(asset, [day.isoformat()])[day.isoformat()]
        return {artifact.artifact_id for artifact in held or ()}

    def made_from(self) -> set[str]:
        """The artifacts that the day's alerts were last made from."""
        (alerts_of_day,) = self.heads("alerts", DAY)
        edges = self.lake.store.get_lineage(alerts_of_day, depth=1, all_publications=True).edges
        return {edge.input_id for edge in edges}


@pytest.fixture
def race(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Race:
    monkeypatch.chdir(tmp_path)
    return Race(tmp_path / "lake", monkeypatch)


def test_alone_a_day_is_extracted_once(race: Race) -> None:
    counts = race.run(lambda: None)
    assert race.extractions == 1
    assert (counts["messages"], counts["alerts"]) == (1, 1)


@pytest.mark.parametrize("changed", [DAY, NEXT], ids=["the day", "the next day"])
def test_messages_that_change_meanwhile_are_extracted_again(race: Race, changed: date) -> None:
    def once() -> None:
        if race.extractions == 1:
            race.rival(changed)

    counts = race.run(once)
    assert race.extractions == 2
    assert race.made_from() == race.heads("telegram_messages", DAY) | race.heads(
        "telegram_messages", NEXT
    )
    assert counts["alerts"] == (2 if changed == DAY else 1), "what the last extraction came to"


def test_messages_that_never_rest_are_said(race: Race) -> None:
    with pytest.raises(Conflict, match=r"alerts \(reading telegram_messages 2025-11-07\): other"):
        race.run(lambda: race.rival(DAY))
    assert race.extractions > 1
