"""`quantlab ingest telegram`, `alerts` and `quarantine`, on a lake of a few messages."""

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from quantlab_assets import open_lake
from quantlab_assets.cli.main import main
from quantlab_assets.domain.artifacts.records import PublishRequest
from quantlab_assets.domain.artifacts.seed_types import ALERTS_QUARANTINE
from quantlab_assets.domain.telegram.frames import frame_schema, table_of
from quantlab_assets.lake.provenance import provenance_of
from quantlab_tests.domain.telegram.alerts.chat_log import EVM, MINT, OTHER_MINT, POOL

MIDNIGHT = int(datetime(2025, 11, 8, tzinfo=UTC).timestamp())
GLUED = MINT + "xx"
BROKEN = b'{"id": "x",  "type":"message", "date_unixtime": "1762514985", "text": "gm"}'


def said(number: int, text: str, before_s: int, by: str = "caller_01", **more: Any) -> Any:
    posted = str(MIDNIGHT - before_s)
    return {"id": number, "type": "message", "date_unixtime": posted, "from": by} | {
        "text": text,
        **more,
    }


RECORDS = [
    said(1, f"buy {MINT}", 3600),
    said(2, f"and {EVM}", 3500, "caller_02"),
    said(3, f"https://dexscreener.com/solana/{POOL}", 3400),
    said(4, f"broken {GLUED}", 3300),
    said(5, "gm", 3200),
    said(6, "$ORE", 2),
    said(7, f"$ORE {OTHER_MINT}", -3, "Rick", reply_to_message_id=6),
]


def write(path: Path, *records: Any, raw: bytes = b"") -> Path:
    listed = b",".join([json.dumps(record).encode() for record in records] + ([raw] if raw else []))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b'{"name": "group", "id": 77, "messages": [' + listed + b"]}")
    return path


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake into which the records were ingested from the shell, in a folder of its own."""
    folder = tmp_path_factory.mktemp("alerts")
    export = write(folder / "result.json", *RECORDS, raw=BROKEN)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["ingest", "telegram", str(export), "--lake", str(folder / "lake")]) == 0
    return folder / "lake"


@pytest.fixture
def run(
    lake: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Any]:
    """Run a command on the lake; its JSON, or the exit code and what it said."""
    monkeypatch.chdir(lake.parent)

    def command(*arguments: str, on: Path = lake, code: int = 0) -> Any:
        assert main([*arguments, "--lake", str(on), "--format", "json"]) == code
        told = capsys.readouterr()
        return json.loads(told.out) if code == 0 else told.err

    return command


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def by(records: list[dict[str, Any]], name: str) -> dict[str, int]:
    return {record[name]: record["count"] for record in records}


class TestIngest:
    def test_a_dry_run_says_what_an_ingestion_does_and_writes_nothing(
        self, run: Callable[..., Any], lake: Path, tmp_path: Path
    ) -> None:
        found = run("ingest", "telegram", "result.json", "--dry-run", on=tmp_path / "none")
        assert not (tmp_path / "none").exists()
        assert found["messages"] == {
            "seen": 7,
            "service": 0,
            "calling": 3,
            "quarantined": 2,
            "ignored": 2,
        }
        assert by(found["ignored"], "reason") == {"bot": 1, "no_token": 1}
        assert by(found["quarantined"], "code") == {
            "invalid_mint_address": 1,
            "pair_address_unresolved": 1,
        }
        assert by(found["unreadable"], "code") == {"missing_id": 1}
        assert found["days"] == ["2025-11-06", "2025-11-07", "2025-11-08"]
        store = open_lake(lake).store
        unknown = len(store.list_artifacts().artifacts) - found["artifacts"]["new"]
        assert unknown == 1, "the unreadable records are an artifact of the export, not of a day"

    def test_ingesting_again_adds_nothing(
        self, run: Callable[..., Any], lake: Path, tmp_path: Path
    ) -> None:
        before = {a.artifact_id for a in open_lake(lake).store.list_artifacts().artifacts}
        inbox = files(lake / "inbox")
        copy = tmp_path / "other name.json"
        copy.write_bytes((lake.parent / "result.json").read_bytes())
        found = run("ingest", "telegram", str(copy), "--from", "2025-11-08")
        assert found["files"][0]["held"]
        assert found["days"] == ["2025-11-07", "2025-11-08"]
        assert found["artifacts"]["new"] == 0
        assert found["artifacts"]["deduped"] > 0
        assert {a.artifact_id for a in open_lake(lake).store.list_artifacts().artifacts} == before
        assert files(lake / "inbox") == inbox

    @pytest.mark.parametrize("content", [b"hello", b"{}", b'{"id": 1, "messages": [{"id": 1}'])
    def test_a_file_that_is_no_export_stops_it_all(
        self, run: Callable[..., Any], lake: Path, tmp_path: Path, content: bytes
    ) -> None:
        before = files(lake / "inbox") | files(lake / "artifacts")
        good = write(tmp_path / "a.json", said(9, "new", 60))
        (tmp_path / "b.json").write_bytes(content)
        told = run("ingest", "telegram", str(good), str(tmp_path / "b.json"), code=1)
        assert told.count("\n") == 1
        assert told.startswith("quantlab: b.json: ")
        assert files(lake / "inbox") | files(lake / "artifacts") == before

    def test_what_is_not_there_is_said(self, run: Callable[..., Any], tmp_path: Path) -> None:
        assert "no such file" in run("ingest", "telegram", str(tmp_path / "no.json"), code=3)
        (tmp_path / "empty").mkdir()
        assert "no *.json" in run("ingest", "telegram", str(tmp_path / "empty"), code=3)

    def test_another_chat_can_be_refused(self, run: Callable[..., Any]) -> None:
        told = run("ingest", "telegram", "result.json", "--chat-id", "5", "--dry-run", code=1)
        assert "has messages of chat 77, not only of 5" in told
        run("ingest", "telegram", "result.json", "--chat-id", "77", "--dry-run")

    def test_a_range_that_ends_before_it_begins(self, run: Callable[..., Any]) -> None:
        limits = ("--from", "2025-11-09", "--to", "2025-11-08")
        assert "is before" in run("ingest", "telegram", "result.json", *limits, code=1)

    def test_the_summary_for_people(
        self, run: Callable[..., Any], lake: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["ingest", "telegram", "result.json", "--dry-run", "--lake", str(lake)]) == 0
        told = capsys.readouterr().out
        assert "8 records, 1 unreadable, 2 days; held already as result-" in told
        for line in ("messages seen", "ignored: bot", "quarantine rows: invalid_mint_address"):
            assert line in told

    def test_names_are_never_mixed_with_pseudonyms(
        self, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "key").write_text("k" * 32)
        monkeypatch.setenv("QUANTLAB_PSEUDONYM_KEY", str(tmp_path / "key"))
        assert "stored with people's names" in run("ingest", "telegram", "result.json", code=1)
        monkeypatch.setenv("QUANTLAB_PSEUDONYM_KEY", str(tmp_path / "nowhere"))
        assert "cannot read" in run("ingest", "telegram", "result.json", code=1)


class TestAlerts:
    def ids(self, found: list[dict[str, Any]]) -> list[int]:
        return [record["alertMessageId"] for record in found]

    def test_every_alert_is_listed_with_all_its_columns(self, run: Callable[..., Any]) -> None:
        found = run("alerts", "list")
        assert self.ids(found) == [1, 2, 6]
        assert found[2]["mint"] == OTHER_MINT
        assert found[2]["mintSource"] == "bot_reply"
        assert found[2]["knownTsUtc"] == "2025-11-08T00:00:03Z"

    @pytest.mark.parametrize(
        ("filters", "ids"),
        [
            (("--caller", " CALLER_02 "), [2]),
            (("--mint", EVM), [2]),
            (("--mint", EVM.upper().replace("X", "x")), [2]),
            (("--mint", MINT.lower()), []),
            (("--chain", "solana"), [1, 6]),
            (("--chain", "evm"), [2]),
            (("--from", "2025-11-08"), []),
            (("--to", "2025-11-07"), [1, 2, 6]),
            (("--limit", "2"), [1, 2]),
        ],
    )
    def test_filters(
        self, run: Callable[..., Any], filters: tuple[str, ...], ids: list[int]
    ) -> None:
        assert self.ids(run("alerts", "list", *filters)) == ids

    def test_a_limit_says_what_it_left_out(
        self, run: Callable[..., Any], lake: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["alerts", "list", "--limit", "1", "--lake", str(lake)]) == 0
        told = capsys.readouterr()
        assert "1 of 3 alerts" in told.err
        assert MINT in told.out


class TestQuarantine:
    def test_counts_and_rows(self, run: Callable[..., Any]) -> None:
        counts = run("quarantine", "list")
        assert [record["errorCode"] for record in counts] == [
            "invalid_mint_address",
            "pair_address_unresolved",
            "missing_id",
        ]
        [row] = run("quarantine", "list", "--rows", "--code", "invalid_mint_address")
        assert (row["id"], row["day"]) == ("77:4", "2025-11-07")
        [lost] = run("quarantine", "list", "--rows", "--code", "missing_id")
        assert lost["id"] == f"{lost['source']}#1"
        assert run("quarantine", "list", "--day", "2025-11-06") == []
        assert len(run("quarantine", "list", "--rows", "--limit", "2")) == 2

    def test_the_original_bytes_outlive_the_file(
        self, lake: Path, capsysbinary: pytest.CaptureFixture[bytes]
    ) -> None:
        row_id = open_source_id(lake)
        for export in (lake / "inbox" / "telegram").iterdir():
            export.unlink()
        assert main(["quarantine", "show", row_id, "--raw", "--lake", str(lake)]) == 0
        assert capsysbinary.readouterr().out == BROKEN

    def test_a_message_is_shown_with_its_versions(self, run: Callable[..., Any]) -> None:
        found = run("quarantine", "show", "77:4")
        assert [fault["errorCode"] for fault in found["faults"]] == ["invalid_mint_address"]
        assert [version["text"] for version in found["versions"]] == [f"broken {GLUED}"]
        assert "not in quarantine" in run("quarantine", "show", "77:1", code=3)
        assert "no original bytes" in run("quarantine", "show", "77:4", "--raw", code=1)

    def test_csv_is_harmless(self, run: Callable[..., Any], lake: Path, capsys: Any) -> None:
        assert main(["quarantine", "list", "--rows", "--format", "csv", "--lake", str(lake)]) == 0
        rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
        assert len(rows) == 3

    def test_retrying_says_what_became_of_each(
        self, run: Callable[..., Any], lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _quarantine_a_record_that_reads_today(lake)
        rules = tmp_path / "rules.toml"
        rules.write_text(
            "[[links]]\nrole = 'token'\nhost = 'dexscreener\\.com'\npath = '/{network}/{address}'\n"
        )
        monkeypatch.setenv("QUANTLAB_TELEGRAM_RULES", str(rules))
        told = {record["id"]: record for record in run("quarantine", "retry")}
        assert told["77:3"]["outcome"] == "calling"
        assert told["77:3"]["detail"] == POOL
        assert told["77:4"]["outcome"] == "quarantined"
        assert told[f"{'f' * 16}#1"]["outcome"] == "message"
        assert told[f"{'f' * 16}#1"]["detail"] == "77:500"
        assert told[open_source_id(lake)]["outcome"] == "unreadable"
        assert {a["alertMessageId"] for a in run("alerts", "list")} == {1, 2, 3, 6, 500}
        assert run("quarantine", "list", "--source", "f" * 16) == []
        assert POOL in {a["mint"] for a in run("alerts", "list")}
        store = open_lake(lake).store
        [artifact] = store.find_by_logical_key("alerts_v1", "day=2025-11-07/chain=solana")[:1]
        params = store.get_publications(artifact.artifact_id)[-1].provenance.params
        assert params["rules_hash"] == open_lake(lake).ingestion.rules.digest


def open_source_id(lake: Path) -> str:
    """The id of the record that the export of this module holds."""
    from quantlab_assets.handlers.ingest.quarantine import quarantined

    rows = quarantined(open_lake(lake).store, code="missing_id")
    return str(rows["id"][0])


def _quarantine_a_record_that_reads_today(lake: Path) -> None:
    """As an older parser may have left it."""
    row = {
        "chat_id": 77,
        "message_id": 500,
        "text": json.dumps(said(500, f"late {OTHER_MINT}", 100)),
        "error_code": "bad_date",
        "error_reason": "as it was then",
    }
    opened = open_lake(lake)
    table = table_of(pl.DataFrame([row], schema=frame_schema(ALERTS_QUARANTINE)), ALERTS_QUARANTINE)
    key = ALERTS_QUARANTINE.key(source="f" * 16)
    opened.store.publish_artifact(
        PublishRequest(ALERTS_QUARANTINE.name, key, table, provenance_of("test"))
    )
