"""Exports through the real inbox, handlers and store: whatever the order, batches, repetitions or
processes in which they come, the lake holds the same artifacts in the end."""

import json
import multiprocessing
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from quantlab_assets import open_lake
from quantlab_assets.domain.artifacts.records import PartitionRef
from quantlab_assets.domain.errors import Conflict
from quantlab_assets.domain.telegram.chats import chat_bucket
from quantlab_assets.domain.telegram.rules import load_rules
from quantlab_assets.handlers.ingest.messages import check_pseudonym_key, messages_of_day
from quantlab_assets.handlers.publish_partition import publish_partition
from quantlab_assets.lake import Lake
from quantlab_assets.lake.provenance import provenance_of
from quantlab_assets.settings import Settings
from quantlab_tests.domain.telegram.alerts.chat_log import EVM, MINT, OTHER_MINT, POOL
from quantlab_tests.handlers.ingest.without_dagster import DAY, ingest, messages

YEAR = (datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))
MIDNIGHT = int(datetime(2025, 11, 8, tzinfo=UTC).timestamp())


def said(number: int, text: str, before_s: int, by: str = "caller_01", **more: Any) -> Any:
    posted = str(MIDNIGHT - before_s)
    plain = {"id": number, "type": "message", "date_unixtime": posted, "from": by, "text": text}
    return plain | more


EXPORTS = {
    "a": [
        said(1, f"buy {MINT}", 3600),
        said(2, "gm", 3500),
        said(3, f"https://dexscreener.com/solana/{POOL}", 20),
        {"id": None},
    ],
    "b": [
        said(2, f"gm {EVM}", 3500, edited_unixtime=str(MIDNIGHT - 3000)),
        said(3, f"https://dexscreener.com/solana/{POOL}", 20),
        said(4, OTHER_MINT, -2, "Rick", reply_to_message_id=3),
    ],
    "c": [
        said(1, f"buy {MINT}", 3600, "renamed"),
        said(2, f"gm {EVM} !", 3500, edited_unixtime=str(MIDNIGHT - 100)),
        said(5, f"next {MINT}", -500),
        {"id": 5, "type": "odd"},
    ],
}
"""Exports of one chat that overlap: of `b` and `c` the first call is gone, or has another name."""


def put(lake: Path, names: Sequence[str]) -> None:
    inbox = lake / "inbox" / "telegram"
    inbox.mkdir(parents=True, exist_ok=True)
    for name in names:
        text = json.dumps({"name": "group", "id": 77, "messages": EXPORTS[name]})
        (inbox / f"{name}.json").write_text(text)


def opened(folder: Path) -> Lake:
    return open_lake(Settings.from_environment(folder, environ={}), create=True)


def active(folder: Path) -> dict[str, str]:
    """Artifact ids by type and key."""
    artifacts = opened(folder).store.list_artifacts().artifacts
    return {
        f"{a.artifact_type} {a.logical_key}": a.artifact_id
        for a in artifacts
        if a.status == "active"
    }


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake that got all exports at once."""
    folder = tmp_path_factory.mktemp("together")
    put(folder, "abc")
    ingest(opened(folder))
    return folder


def in_steps(folder: Path, steps: Sequence[str], *, keep: bool) -> dict[str, str]:
    """Ingest batch by batch; without `keep` the inbox holds only the newest batch."""
    for step in steps:
        if not keep:
            for file in (folder / "inbox" / "telegram").glob("*.json"):
                file.unlink()
        put(folder, step)
        ingest(opened(folder))
    return active(folder)


@pytest.mark.parametrize("order", ["abc", "bca", "cba"])
def test_any_order_gives_the_same_artifacts(tmp_path: Path, together: Path, order: str) -> None:
    assert in_steps(tmp_path, order, keep=False) == active(together)


@pytest.mark.parametrize(
    ("steps", "keep"),
    [(("ab", "bc"), True), (("c", "abc", "a"), False), (("a", "a", "cb", "b"), False)],
    ids=str,
)
def test_any_batches_and_repetitions_give_the_same_artifacts(
    tmp_path: Path, together: Path, steps: tuple[str, ...], keep: bool
) -> None:
    assert in_steps(tmp_path, steps, keep=keep) == active(together)


def test_what_they_come_to(together: Path) -> None:
    lake = opened(together)
    found = lake.alerts(
        datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
    ).collect()
    assert found.select("alert_message_id", "mint", "mint_source").rows() == [
        (1, MINT, "text"),
        (2, EVM.lower(), "text"),
        (3, OTHER_MINT, "bot_reply"),
        (5, MINT, "text"),
    ]
    known = dict(found.select("alert_message_id", "known_ts_utc").iter_rows())
    assert known[2] == datetime.fromtimestamp(MIDNIGHT - 3000, UTC), "the earliest version with it"
    assert known[3] == datetime.fromtimestamp(MIDNIGHT + 2, UTC), "the answer after midnight"


def test_an_alert_whose_message_a_later_export_lacks_stays(tmp_path: Path) -> None:
    in_steps(tmp_path, ["a", "b"], keep=False)
    lake = opened(tmp_path)
    found = lake.alerts(
        datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
    ).collect()
    assert 1 in found["alert_message_id"].to_list()
    [artifact] = lake.store.find_by_logical_key(
        "telegram_messages", f"day={DAY}/bucket={chat_bucket(77)}"
    )[:1]
    sources = lake.store.get_sources([artifact.artifact_id])[artifact.artifact_id]
    assert [source.name for source in sources] == sorted(
        ["a.json", "b.json"], key=lambda name: {s.name: s.sha256 for s in sources}[name]
    )


def _ingest_in_a_process(folder: Path, barrier: Any, names: str) -> None:
    settings = Settings.from_environment(
        folder, environ={"QUANTLAB_TELEGRAM_INBOX": str(folder / f"inbox-{names}")}
    )
    lake = open_lake(settings, create=True)
    barrier.wait()
    ingest(lake)
    # The other may have published messages after this one extracted alerts: as the graph does on
    # a changed day, extract once more.
    barrier.wait()
    ingest(lake)


def test_two_ingestions_at_once_give_the_same_as_one_after_the_other(
    tmp_path: Path, together: Path
) -> None:
    for names in ("ab", "bc"):
        put(tmp_path / names, names)
        (tmp_path / names / "inbox" / "telegram").rename(tmp_path / f"inbox-{names}")
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(2)
    run = partial(_ingest_in_a_process, tmp_path, barrier)
    both = [spawn.Process(target=run, args=(names,)) for names in ("ab", "bc")]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
    assert active(tmp_path) == active(together)


def test_the_rules_are_recorded_with_what_is_published(together: Path) -> None:
    store = opened(together).store
    for key in (f"day={DAY}/chain=evm", f"day={DAY}/bucket={chat_bucket(77)}"):
        kind = "alerts_v1" if "chain" in key else "telegram_messages"
        [artifact] = store.find_by_logical_key(kind, key)
        params = store.get_publications(artifact.artifact_id)[0].provenance.params
        assert params["rules_hash"] == load_rules().digest


def test_a_lake_keeps_to_one_pseudonym_key(tmp_path: Path, together: Path) -> None:
    (tmp_path / "key").write_bytes(b"k" * 32)
    (tmp_path / "other").write_bytes(b"o" * 32)
    put(tmp_path / "lake", "ac")

    def lake(key: str | None) -> Lake:
        environ = {} if key is None else {"QUANTLAB_PSEUDONYM_KEY": str(tmp_path / key)}
        return open_lake(Settings.from_environment(tmp_path / "lake", environ=environ), create=True)

    first = lake("key")
    people = first.ingestion.pseudonyms
    assert people is not None
    source = first.ingestion.exports()
    output = messages_of_day(source, DAY, first.ingestion.rules, pseudonym_key=people.fingerprint)
    ref = PartitionRef("telegram_messages", DAY.isoformat())
    publish_partition(first.store, ref, output, inputs=tuple, provenance=provenance_of("test"))
    names = messages(first, DAY)["sender_name"].unique().to_list()
    assert people.name("caller_01") in names
    assert set(names) <= {people.name("caller_01"), people.name("renamed")}
    assert lake("key").ingestion.pseudonyms is not None
    with pytest.raises(Conflict, match="under the key"):
        _ = lake("other").ingestion.pseudonyms
    with pytest.raises(Conflict, match="under the key"):
        _ = lake(None).ingestion.pseudonyms
    with pytest.raises(Conflict, match="with people's names"):
        check_pseudonym_key(opened(together).store, people.fingerprint)
    for file in (tmp_path / "lake").rglob("*"):
        if file.is_file() and "inbox" not in file.parts:
            assert b"caller_01" not in file.read_bytes(), file
