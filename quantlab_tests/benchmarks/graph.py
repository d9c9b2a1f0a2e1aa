"""Figures of the asset graph: `python -m quantlab_tests.benchmarks graph [--days N] [--rounds N]`.

A range of days of `alerts` in one run, against Dagster's own floor: the same range of an asset that
does nothing, on the same kind of instance (SQLite in a folder). Every round has a lake and an
instance of its own; the messages (`--messages` a day, a third of them calls) are ingested before
the clock starts. A ratio is the median of the ratios of the rounds.
"""

import argparse
import json
import statistics
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import base58
import dagster as dg
import numpy as np

from quantlab_assets.definitions import build_defs
from quantlab_assets.defs.partitions import DAYS, ONE_RUN, day_range_tags
from quantlab_assets.settings import Settings

FIRST = date(2024, 1, 1)
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dg.asset(partitions_def=DAYS, backfill_policy=ONE_RUN)
def nothing() -> dg.MaterializeResult[None]:
    """What Dagster itself costs."""
    return dg.MaterializeResult()


def export(days: int, messages: int) -> str:
    """An export of `messages` messages a day, every third one a call of a token of its own."""
    random = np.random.default_rng(7)
    start = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC)
    rows = []
    for number in range(days * messages):
        at = start + timedelta(seconds=number * 86_400 / messages)
        mint = base58.b58encode(random.bytes(32)).decode()
        rows.append(
            {
                "id": number + 1,
                "type": "message",
                "date": at.replace(tzinfo=None).isoformat(timespec="seconds"),
                "date_unixtime": str(int(at.timestamp())),
                "from": f"caller {number % 20}",
                "from_id": f"user{number % 20}",
                "text": f"aping {mint}" if number % 3 == 0 else "good morning",
            }
        )
    chat = {"name": "group", "type": "private_supergroup", "id": 1}
    return json.dumps({**chat, "messages": rows})


def timed(defs: dg.Definitions, home: Path, asset: str, last: date) -> float:
    """Seconds that one run of the range takes, its instance opened before."""
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        job = defs.resolve_implicit_global_asset_job_def()
        begun = time.perf_counter()
        job.execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey(asset)],
            tags=day_range_tags(FIRST, last),
            run_config=QUIET,
        )
        return time.perf_counter() - begun


def main(argv: list[str]) -> None:
    """Print seconds, milliseconds a day, and the ratio to Dagster's floor."""
    parser = argparse.ArgumentParser(prog="graph", description=__doc__)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--messages", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(argv)
    last = FIRST + timedelta(days=options.days - 1)
    text = export(options.days, options.messages)
    floor_defs = dg.Definitions([nothing], executor=dg.in_process_executor)
    figures: dict[str, list[float]] = {"nothing": [], "telegram_messages": [], "alerts": []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds):
            root = Path(folder) / str(number)
            settings = Settings.from_environment(root / "lake")
            settings.create_folders()
            (settings.telegram_inbox / "chat.json").write_text(text, encoding="utf-8")
            defs = build_defs(settings)
            for asset in ("telegram_messages", "alerts"):
                figures[asset].append(timed(defs, root / asset, asset, last))
            figures["nothing"].append(timed(floor_defs, root / "nothing", "nothing", last))
    print(f"{options.days} days in one run, {options.messages} messages a day")
    for asset, seconds in figures.items():
        each = statistics.median(seconds) / options.days * 1000
        ratios = [s / f for s, f in zip(seconds, figures["nothing"], strict=True)]
        print(
            f"{asset:18} {statistics.median(seconds):7.2f} s  {each:6.1f} ms a day  "
            f"ratio to nothing {statistics.median(ratios):.2f}"
        )
