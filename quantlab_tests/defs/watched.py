"""A lake whose inboxes are watched tick by tick, and exports to drop into them."""

import json
from datetime import datetime
from pathlib import Path

import dagster as dg

from quantlab_assets.definitions import build_defs
from quantlab_assets.defs.resources import LakeResource
from quantlab_assets.defs.sensors import candle_tick, telegram_tick
from quantlab_assets.handlers.ingest.inbox_changes import InboxDecision, KnownFile
from quantlab_tests.domain.telegram.alerts.chat_log import MINT, OTHER_MINT

RANGE = tuple[str, str]


class Watched:
    """A lake whose inboxes are looked at tick by tick; what is decided can be run."""

    def __init__(self, root: Path, instance: dg.DagsterInstance) -> None:
        self.lake = LakeResource(root=str(root))
        self.instance = instance
        self.telegram = self.lake.lake.settings.telegram_inbox
        assert self.lake.lake.settings.candle_inbox is not None
        self.candles = self.lake.lake.settings.candle_inbox
        self.memory: dict[str, dict[str, KnownFile]] = {"telegram": {}, "candles": {}}

    def tick(self, inbox: str) -> InboxDecision:
        look = telegram_tick if inbox == "telegram" else candle_tick
        decision = look(self.lake, self.memory[inbox])
        self.memory[inbox] = dict(decision.memory)
        return decision

    def settle(self, inbox: str) -> list[RANGE]:
        """Two ticks: the ranges to run."""
        assert self.tick(inbox).ranges == ()
        return [(str(each.first), str(each.last)) for each in self.tick(inbox).ranges]

    def run(self, job: str, ranges: list[RANGE]) -> None:
        for first, last in ranges:
            defs = build_defs(self.lake.lake.settings)
            defs.resolve_job_def(job).execute_in_process(
                instance=self.instance,
                tags={
                    "dagster/asset_partition_range_start": first,
                    "dagster/asset_partition_range_end": last,
                },
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            )


def say(day: str, number: int, text: str, hour: str = "12:00") -> dict[str, object]:
    """A message of an export; `text` may call a token."""
    stamp = datetime.fromisoformat(f"{day}T{hour}:00+00:00")
    return {
        "id": number,
        "type": "message",
        "date": f"{day}T{hour}:00",
        "date_unixtime": str(int(stamp.timestamp())),
        "from": "caller",
        "from_id": "user1",
        "text": text,
    }


def export(*messages: dict[str, object]) -> str:
    chat = {"name": "group", "type": "private_supergroup", "id": 1976645587}
    return json.dumps({**chat, "messages": list(messages)})


def ingest(watched: Watched, *messages: dict[str, object]) -> list[RANGE]:
    """Drop an export, let it settle, run what the sensor asks for."""
    (watched.telegram / "chat.json").write_text(export(*messages))
    ranges = watched.settle("telegram")
    watched.run("ingestion", ranges)
    return ranges


def candle_file(path: Path, start: datetime, rows: int, *, price: float = 1.0) -> None:
    lines = ["timestamp,open,high,low,close,volume"]
    for n in range(rows):
        at = int(start.timestamp()) + 60 * n
        lines.append(f"{at},{price},{price},{price},{price},10")
    path.write_text("\n".join(lines) + "\n")


def at(day: str, hour: int = 0) -> datetime:
    return datetime.fromisoformat(f"{day}T{hour:02}:00:00+00:00")


FIRST = say("2025-11-03", 1, MINT)


SECOND = say("2025-11-04", 2, "gm")


LATER = say("2025-11-09", 3, OTHER_MINT)
