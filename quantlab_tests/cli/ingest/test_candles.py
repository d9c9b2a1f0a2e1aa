"""`quantlab ingest candles`: into the inbox, and into a ClickHouse."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quantlab_assets import open_lake
from quantlab_assets.cli.main import main
from quantlab_assets.sample import sample_path
from quantlab_tests.adapters.candle_series import series_of
from quantlab_tests.adapters.clickhouse.engine import embedded, new_database
from quantlab_tests.cli.in_front import Done

MINT = "9Yn6bnF3eKLqocUVMxduh7WWqgQZ8DvWQDYTX9Ncpump"
EVM = "0x2338c5ad75967dac2ff988fc3488109ec2406dfe"
HEADER = "timestamp,open,high,low,close,volume\n"
NOON = 1762430400

Run = Callable[..., Done]


def held_rows() -> list[int]:
    """How many candles the lake's source has of the token, the finest interval first."""
    source = open_lake("lake").ingestion.candle_source
    return [series.table.num_rows for series in series_of(source, "evm", EVM)]


def lines(count: int = 4, close: float = 1.5) -> str:
    return HEADER + "".join(f"{NOON + 300 * i},1,2,0.5,{close},{i}\n" for i in range(count))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Done:
        capsys.readouterr()
        code = main(["ingest", "candles", *words, "--lake", "lake"])
        return Done(code, *capsys.readouterr())

    return run


def inbox(tmp_path: Path) -> dict[str, str]:
    folder = tmp_path / "lake" / "inbox" / "candles"
    return {path.name: path.read_text() for path in folder.rglob("*")} if folder.is_dir() else {}


def total(done: Done) -> dict[str, Any]:
    return {name: done.json[name] for name in ("rows", "candles", "duplicates", "conflicts")}


class TestIntoTheInbox:
    def test_files_are_copied_once_and_what_is_in_them_is_said(
        self, run: Run, tmp_path: Path
    ) -> None:
        given = tmp_path / "given"
        (given / "deep").mkdir(parents=True)
        (given / "deep" / f"solana_{MINT}.csv").write_text(lines() + lines()[len(HEADER) :])
        (given / f"bsc_{EVM}.csv").write_text(lines() + f"{NOON + 1200},0,2,0.5,1,1\n")
        (given / "0xB83D4c.csv").write_text(lines())
        (given / "notes.csv").write_text("hello\n")
        (given / "README.md").write_text("not mine")

        first = run("given", "--format", "json")
        again = run("given", "--format", "json")

        assert first.code == again.code == 0
        assert total(first) == {"rows": 17, "candles": 8, "duplicates": 4, "conflicts": 0}
        assert first.json["tokens"] == [f"bsc:{EVM}", MINT]
        assert first.json["quarantined"] == [{"code": "non_positive_price", "count": 1}]
        assert (first.json["unresolvableFiles"], first.json["refusedFiles"]) == (1, 1)
        assert [one["state"] for one in first.json["files"]] == ["new", "new", "new", "left_out"]
        assert [one["state"] for one in again.json["files"]] == ["held"] * 3 + ["left_out"]
        assert sorted(inbox(tmp_path)) == ["0xB83D4c.csv", f"bsc_{EVM}.csv", f"solana_{MINT}.csv"]
        assert "tokens.csv: 0xB83D4c,<full address>,<network>" in first.err
        assert "notes.csv: unknown_shape" in first.err
        assert held_rows() == [4]

    def test_another_content_of_the_same_name_overwrites_nothing(
        self, run: Run, tmp_path: Path
    ) -> None:
        for number in range(3):
            folder = tmp_path / f"{number}"
            folder.mkdir()
            (folder / f"bsc_{EVM}.csv").write_text(lines(4 + number))
            done = run(f"{number}", "--format", "json")
            assert done.json["files"][0]["state"] == "new"
        assert run("1", "--format", "json").json["files"][0]["state"] == "held"

        held = inbox(tmp_path)
        assert sorted(held.values()) == sorted(lines(4 + n) for n in range(3))
        assert f"bsc_{EVM}.csv" in held
        assert all(name.startswith(f"bsc_{EVM}") for name in held)
        assert held_rows() == [6]

    def test_the_same_prices_of_two_tokens_are_two_files(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / f"bsc_{EVM}.csv").write_text(lines())
        (tmp_path / f"base_{EVM}.csv").write_text(lines())
        (tmp_path / f"renamed-bsc-{EVM}.csv").write_text(lines())

        done = run(*(path.name for path in sorted(tmp_path.glob("*.csv"))), "--format", "json")

        assert [one["state"] for one in done.json["files"]] == ["new", "new", "held"]
        assert len(inbox(tmp_path)) == 2

    def test_a_dry_run_changes_nothing(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / f"bsc_{EVM}.csv").write_text(lines())

        done = run(f"bsc_{EVM}.csv", "--dry-run", "--format", "json")

        assert (done.json["dryRun"], done.json["candles"]) == (True, 4)
        assert not (tmp_path / "lake").exists()

    def test_names_of_tokens_come_along_and_are_not_overwritten(
        self, run: Run, tmp_path: Path
    ) -> None:
        given = tmp_path / "given"
        given.mkdir()
        (given / "0xB83D4c.csv").write_text(lines())
        (given / "tokens.csv").write_text(f"0xB83D4c,{EVM},bsc\n")
        (given / "candles.toml").write_text('volume_unit = "token"\n')

        assert run("given", "--format", "json").json["tokens"] == [f"bsc:{EVM}"]
        assert open_lake("lake").ingestion.candle_source.volume_unit() == "token"

        (given / "tokens.csv").write_text(f"0xB83D4c,{MINT},\n")
        other = run("given")
        assert other.code == 1
        assert "is another token" in other.err

    def test_options_that_would_change_other_candles_are_refused(
        self, run: Run, tmp_path: Path
    ) -> None:
        (tmp_path / f"bsc_{EVM}.csv").write_text(lines())
        assert run(f"bsc_{EVM}.csv").code == 0
        (tmp_path / "candles.toml").write_text('volume_unit = "token"\n')

        done = run(f"bsc_{EVM}.csv", "candles.toml")

        assert done.code == 1
        assert "would change the candles" in done.err
        assert open_lake("lake").ingestion.candle_source.volume_unit() is None

    @pytest.mark.parametrize(
        ("name", "code", "says"),
        [
            ("nowhere", 3, "no such file or folder"),
            ("empty", 3, "no .csv, .parquet, .pq, .tsv file in this folder"),
            ("notes.txt", 1, "rename it"),
            ("bad.csv", 1, "none of these files holds candles"),
        ],
    )
    def test_paths_that_hold_no_candles(
        self, run: Run, tmp_path: Path, name: str, code: int, says: str
    ) -> None:
        (tmp_path / "empty").mkdir()
        (tmp_path / "notes.txt").write_text("x")
        (tmp_path / "bad.csv").write_text("x")

        done = run(name)

        assert done.code == code
        assert says in done.err
        assert inbox(tmp_path) == {}

    def test_for_people_and_for_programs(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / f"bsc_{EVM}.csv").write_text(lines())

        table = run(f"bsc_{EVM}.csv").out
        facts = run(f"bsc_{EVM}.csv", "--format", "jsonl").lines

        assert f"4 candles of bsc:{EVM}; copied as bsc_{EVM}.csv" in table
        assert {"section": "totals", "name": "candles", "value": 4} in facts

    def test_every_row_is_accounted_for(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / f"bsc_{EVM}.csv").write_text(lines())
        (tmp_path / "bsc_0x2338c5.csv").write_text(lines())

        facts = run(".", "--format", "jsonl").lines

        totals = {one["name"]: one["value"] for one in facts if one["section"] == "totals"}
        assert (totals["rows"], totals["candles"]) == (8, 4)
        assert totals["rows of files refused whole"] == 4


class TestIntoClickHouse:
    @pytest.fixture
    def dsn(self, monkeypatch: pytest.MonkeyPatch) -> str:
        dsn = embedded(new_database())
        monkeypatch.setenv("QUANTLAB_CANDLES", f"{dsn}&password=hunter2")
        return dsn

    def test_volumes_of_another_unit_than_those_of_the_table_are_an_error(
        self, run: Run, dsn: str, tmp_path: Path
    ) -> None:
        (tmp_path / "given").mkdir()
        (tmp_path / "given" / f"bsc_{EVM}.csv").write_text(lines())
        (tmp_path / "given" / "candles.toml").write_text('volume_unit = "token"\n')

        done = run("given")

        assert done.code == 1
        assert "volumes of these files are in token, those of the table in usd" in done.err
        assert "QUANTLAB_CLICKHOUSE_MAPPING" in done.err

    def test_candles_are_put_into_the_table_and_again_nothing(
        self, run: Run, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shutil.copytree(sample_path() / "candles", tmp_path / "given")
        mapping = tmp_path / "clickhouse.toml"
        mapping.write_text('volume_unit = "token"\n')
        monkeypatch.setenv("QUANTLAB_CLICKHOUSE_MAPPING", str(mapping))

        before = run("given", "--dry-run", "--format", "json").json
        first = run("given", "--format", "json")
        again = run("given", "--format", "json").json

        assert before["inserted"] == first.json["inserted"] == {"new": 928, "there": 12}
        assert again["inserted"] == {"new": 0, "there": 940}
        assert inbox(tmp_path) == {}
        assert "hunter2" not in first.out + first.err
        assert held_rows() == [124, 96]

    def test_a_table_of_ones_own_that_cannot_take_them(
        self, run: Run, dsn: str, tmp_path: Path
    ) -> None:
        from quantlab_assets.adapters.clickhouse import Connection

        Connection(dsn).command(
            "CREATE TABLE candles (token_address String, ts DateTime, open Float32) "
            "ENGINE = MergeTree ORDER BY ts"
        )
        (tmp_path / f"bsc_{EVM}.csv").write_text(lines())

        done = run(f"bsc_{EVM}.csv")

        assert done.code == 1
        assert "has no column token_chain for network" in done.err

    def test_a_mapped_table_of_other_types(
        self, run: Run, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from quantlab_assets.adapters.clickhouse import Connection

        Connection(dsn).command(
            "CREATE TABLE bars (ca String, net Nullable(String), step String, ts DateTime64(3),"
            " open Float64, high Float64, low Float64, close Float64, volume Float64)"
            " ENGINE = MergeTree ORDER BY ca"
        )
        mapping = tmp_path / "clickhouse.toml"
        mapping.write_text(
            'table = "bars"\n[columns]\naddress = "ca"\nnetwork = "net"\ninterval = "step"\n'
        )
        monkeypatch.setenv("QUANTLAB_CLICKHOUSE_MAPPING", str(mapping))
        (tmp_path / f"{EVM}.csv").write_text(lines().replace(",3\n", ",NaN\n"))

        assert run(f"{EVM}.csv", "--format", "json").json["inserted"] == {"new": 4, "there": 0}
        assert run(f"{EVM}.csv", "--format", "json").json["inserted"] == {"new": 0, "there": 4}
