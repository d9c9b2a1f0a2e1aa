"""Candle files in every shape: found by content, read once, never blocked by a bad one."""

import os
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from quantlab_assets.adapters.candle_folder import CandleFolder, FileCheck, index
from quantlab_assets.domain.errors import StoreUnavailable, ValidationFailed
from quantlab_assets.domain.tokens.token import Token
from quantlab_tests.adapters.candle_series import series_of

MINT = "9Yn6bnF3eKLqocUVMxduh7WWqgQZ8DvWQDYTX9Ncpump"
EVM = "0x2338c5ad75967dac2ff988fc3488109ec2406dfe"
NOON = int(datetime(2025, 11, 6, 12, tzinfo=UTC).timestamp())
SOLANA_TOKEN = Token("solana", MINT, "solana")
HEADER = "timestamp,open,high,low,close,volume\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "candles"
    path.mkdir()
    return path


@pytest.fixture
def source(folder: Path, tmp_path: Path) -> CandleFolder:
    return CandleFolder(folder, tmp_path / "index")


def lines(count: int = 5, *, start: int = NOON, step: int = 300) -> str:
    return "".join(f"{start + step * i},1,2,0.5,1.5,{i}\n" for i in range(count))


def only(source: CandleFolder) -> FileCheck:
    (check,) = source.check()
    return check


def candles(source: CandleFolder, token: Token = SOLANA_TOKEN) -> pl.DataFrame:
    (series,) = series_of(source, token.chain, token.address)
    return pl.DataFrame(series.table)


PLAIN = HEADER + lines()


class TestCsvShapes:
    @pytest.mark.parametrize(
        "text",
        [
            PLAIN,
            PLAIN.replace("\n", "\r\n"),
            PLAIN.replace("\n", "\r"),
            PLAIN.rstrip("\n"),
            "\n\n" + PLAIN + "\n\n",
            "\ufeff" + PLAIN,
            PLAIN.replace(",", ";"),
            PLAIN.replace(",", "\t"),
            PLAIN.replace(",", ", "),
            PLAIN.replace("timestamp,open", "Timestamp,Open"),
            PLAIN.replace(HEADER, '"TIME","O","H","L","C","Vol"\n'),
            lines(),
            HEADER.replace("timestamp", "datetime")
            + "".join(f"2025-11-06T12:{5 * i:02d}:00.000Z,1,2,0.5,1.5,{i}\n" for i in range(5)),
            "Timestamp,DateTime,Open,High,Low,Close,Volume\n"
            + "".join(
                f"{NOON + 300 * i}000,2025-11-06T23:{5 * i:02d}:00.000Z,1,2,0.5,1.5,{i}\n"
                for i in range(5)
            ),
            "".join(
                f"{NOON + 300 * i}000,2025-11-06T12:{5 * i:02d}:00.000Z,1,2,0.5,1.5,{i}\n"
                for i in range(5)
            ),
            HEADER + "".join(reversed(lines().splitlines(keepends=True))),
        ],
    )
    def test_all_say_the_same(self, folder: Path, source: CandleFolder, text: str) -> None:
        (folder / f"solana_{MINT}_a_b.csv").write_text(text, newline="")

        found = candles(source)

        assert found["ts"].dt.epoch("s").to_list() == [NOON + 300 * i for i in range(5)]
        assert found.select("open", "high", "low", "close").unique().rows() == [(1, 2, 0.5, 1.5)]
        assert found["volume"].to_list() == [0, 1, 2, 3, 4]

    def test_utf_16(self, folder: Path, source: CandleFolder) -> None:
        (folder / f"{MINT}.csv").write_text(PLAIN, encoding="utf-16")

        assert candles(source).height == 5

    def test_no_volume_column(self, folder: Path, source: CandleFolder) -> None:
        rows = "".join(f"{NOON + 300 * i},1,2,0.5,1.5\n" for i in range(5))
        (folder / f"{MINT}.csv").write_text("timestamp,open,high,low,close\n" + rows)

        assert candles(source)["volume"].to_list() == [None] * 5

    def test_a_truncated_last_line_is_refused_alone(
        self, folder: Path, source: CandleFolder
    ) -> None:
        (folder / f"{MINT}.csv").write_text(PLAIN + f"{NOON + 1500},1,2,0.")

        assert candles(source).height == 5
        (rejects,) = source.rejects()
        assert rejects.rows.drop("error_reason").rows() == [
            (7, f"{NOON + 1500},1,2,0.", "unparsable_row")
        ]
        assert rejects.tokens == (SOLANA_TOKEN,)

    def test_a_row_with_a_field_too_many_is_not_guessed_at(
        self, folder: Path, source: CandleFolder
    ) -> None:
        (folder / f"{MINT}.csv").write_text(PLAIN + f"{NOON + 1500},1,2,0.5,1,500,7\n")

        assert candles(source).height == 5
        assert only(source).counts.rejected == 1

    def test_bytes_that_are_no_text_spoil_their_row_only(
        self, folder: Path, source: CandleFolder
    ) -> None:
        (folder / f"{MINT}.csv").write_bytes(
            PLAIN.encode() + f"{NOON + 1500},1,2,0.5,\xff,1\n".encode("latin-1")
        )

        assert candles(source).height == 5
        assert only(source).counts.rejected == 1


class TestParquetShapes:
    @pytest.mark.parametrize(
        "times",
        [
            pl.Series([NOON + 300 * i for i in range(5)], dtype=pl.Int64),
            pl.Series([NOON + 300 * i for i in range(5)], dtype=pl.Float64),
            pl.Series([(NOON + 300 * i) * 1000 for i in range(5)], dtype=pl.Int64),
            pl.from_epoch(pl.Series([NOON + 300 * i for i in range(5)])),
            pl.from_epoch(pl.Series([NOON + 300 * i for i in range(5)])).dt.cast_time_unit("ns"),
            pl.from_epoch(pl.Series([NOON + 300 * i for i in range(5)]))
            .dt.replace_time_zone("UTC")
            .dt.convert_time_zone("Australia/Sydney"),
        ],
        ids=lambda s: str(s.dtype),
    )
    def test_times_of_any_type(self, folder: Path, source: CandleFolder, times: pl.Series) -> None:
        frame = pl.DataFrame(
            {
                "token_address": pl.Series([MINT] * 5, dtype=pl.Categorical),
                "timestamp": times,
                "open": pl.Series([1.0] * 5, dtype=pl.Float32),
                "high": [2.0] * 5,
                "low": [0.5] * 5,
                "close": [1.5] * 5,
                "volume": [0, 1, None, 3, 4],
            }
        )
        frame.write_parquet(folder / "20251106_1200_9Yn6bnF3_pump.parquet")

        found = candles(source)

        assert found["ts"].dt.epoch("s").to_list() == [NOON + 300 * i for i in range(5)]
        assert found["volume"].to_list() == [0, 1, None, 3, 4]
        assert only(source).source is not None
        assert only(source).source.kind == "candles_parquet"

    def test_many_tokens_in_one_file_and_one_that_is_none(
        self, folder: Path, source: CandleFolder
    ) -> None:
        tokens = [MINT, EVM.upper().replace("0X", "0x"), "9Yn6bnF3...pump"]
        pl.DataFrame(
            [
                (t, n, NOON + 300 * i, 1.0, 1.0, 1.0, 1.0, 1.0)
                for i in range(4)
                for t, n in zip(tokens, [None, "BNB", None], strict=True)
            ],
            schema=["token_address", "network", "ts", "open", "high", "low", "close", "volume"],
            orient="row",
        ).write_parquet(folder / "all.parquet")

        (check,) = source.check()

        assert [(s.token, s.rows) for s in check.series] == [
            (Token("evm", EVM, "bsc"), 4),
            (SOLANA_TOKEN, 4),
        ]
        (rejects,) = source.rejects()
        assert rejects.rows["error_code"].to_list() == ["unresolvable_token"] * 4
        assert '"token_address":"9Yn6bnF3...pump"' in rejects.rows["raw_values"][0]

    def test_a_csv_that_is_a_parquet_file_and_the_other_way_round(
        self, folder: Path, source: CandleFolder
    ) -> None:
        pl.read_csv(PLAIN.encode()).write_parquet(folder / f"{MINT}.csv")
        (folder / f"bsc_{EVM}.parquet").write_text(PLAIN)

        assert [c.source.kind for c in source.check() if c.source] == [
            "candles_parquet",
            "candles_csv",
        ]
        assert candles(source).height == candles(source, Token("evm", EVM)).height == 5


class TestRefusedFiles:
    @pytest.mark.parametrize(
        ("name", "data", "code"),
        [
            (f"{MINT}.csv", b"", "empty_file"),
            (f"{MINT}.csv", b"\n \n", "empty_file"),
            (f"{MINT}.csv", HEADER.encode(), "empty_file"),
            (f"{MINT}.csv", b"hello world\n", "unknown_shape"),
            (f"{MINT}.csv", b"timestamp,price\n1,2\n", "unknown_shape"),
            (f"{MINT}.csv", b"PK\x03\x04\x00\x00", "unknown_shape"),
            (f"{MINT}.csv", b",".join([b"1"] * 5000), "unknown_shape"),
            (f"{MINT}.parquet", b"PAR1 and then nothing", "unreadable_file"),
            ("0xB83D4c.csv", PLAIN.encode(), "unresolvable_token"),
            (f"{MINT.lower()}.csv", PLAIN.encode(), "unresolvable_token"),
            (f"{MINT}_{EVM}.csv", PLAIN.encode(), "unresolvable_token"),
            (f"{'0x' + '0' * 40}.csv", PLAIN.encode(), "unresolvable_token"),
        ],
    )
    def test_a_file_without_candles_has_one_reason_and_blocks_nothing(
        self, folder: Path, source: CandleFolder, name: str, data: bytes, code: str
    ) -> None:
        (folder / name).write_bytes(data)
        (folder / f"bsc_{EVM}.csv").write_text(PLAIN)

        refused = [check.refused for check in source.check() if check.refused]
        (rejects,) = source.rejects()

        assert [found for found, _ in refused] == [code]
        assert rejects.rows["error_code"].to_list() == [code]
        assert rejects.rows["row_number"].to_list() == [0]
        assert candles(source, Token("evm", EVM)).height == 5

    def test_limits_can_be_raised(self, folder: Path, tmp_path: Path) -> None:
        (folder / f"{MINT}.csv").write_text(HEADER + lines(200))

        by_bytes = CandleFolder(folder, tmp_path / "a", max_file_bytes=100)
        by_rows = CandleFolder(folder, tmp_path / "b", max_rows=100)

        assert [only(s).refused and only(s).refused[0] for s in (by_bytes, by_rows)] == [
            "too_large",
            "too_large",
        ]
        assert only(CandleFolder(folder, tmp_path / "a")).refused is None

    @pytest.mark.parametrize("line", [f"x.csv,{EVM[:10]},bsc", "x.csv", f"x,{EVM}\nx,{MINT}"])
    def test_a_mapping_that_cannot_be_used_is_reported(
        self, folder: Path, source: CandleFolder, line: str
    ) -> None:
        (folder / "tokens.csv").write_text(line)
        (folder / f"{MINT}.csv").write_text(PLAIN)

        problem = next(check for check in source.check() if check.path == "tokens.csv")

        assert problem.refused is not None
        assert problem.refused[0] == "bad_mapping"
        assert candles(source).height == 5

    def test_other_files_are_left_alone(self, folder: Path, source: CandleFolder) -> None:
        for name in ("README.md", ".hidden.csv", f"{MINT}.csv.part"):
            (folder / name).write_text(PLAIN)

        assert list(source.check()) == []

    def test_a_folder_that_does_not_exist_is_empty(self, tmp_path: Path) -> None:
        source = CandleFolder(tmp_path / "nowhere", tmp_path / "index")

        assert (source.newest_ts(), list(source.check())) == (None, [])


class TestIndex:
    def test_a_file_is_parsed_once(self, folder: Path, tmp_path: Path) -> None:
        def parsed() -> dict[str, int]:
            """What has been written down of files, and when."""
            written = (tmp_path / "index").glob("*.parquet")
            return {path.name: path.stat().st_mtime_ns for path in written}

        path = folder / f"{MINT}.csv"
        path.write_text(PLAIN)
        before = candles(CandleFolder(folder, tmp_path / "index"))
        once = parsed()
        assert once

        path.rename(folder / f"renamed_{MINT}.csv")

        assert candles(CandleFolder(folder, tmp_path / "index")).equals(before)
        assert parsed() == once

    def test_an_old_file_is_not_even_opened_again(self, folder: Path, tmp_path: Path) -> None:
        path = folder / f"{MINT}.csv"
        path.write_text(PLAIN)
        os.utime(path, ns=(NOON * 10**9, NOON * 10**9))
        before = candles(CandleFolder(folder, tmp_path / "index"))
        # Who looked into the file would see other candles.
        path.write_text(PLAIN.replace("1.5", "1.7"))
        os.utime(path, ns=(NOON * 10**9, NOON * 10**9))

        assert candles(CandleFolder(folder, tmp_path / "index")).equals(before)

    def test_a_changed_file_is_read_again_when_asked(
        self, folder: Path, source: CandleFolder
    ) -> None:
        path = folder / f"{MINT}.csv"
        path.write_text(PLAIN)
        first = only(source)

        path.write_text(HEADER + lines(9))

        assert only(source) == first
        source.refresh()
        assert candles(source).height == 9

    def test_a_change_of_the_same_size_and_time_is_noticed_while_young(
        self, folder: Path, source: CandleFolder
    ) -> None:
        path = folder / f"{MINT}.csv"
        path.write_text(PLAIN)
        stat = path.stat()
        assert candles(source)["close"][0] == 1.5

        path.write_text(PLAIN.replace("1.5", "1.7"))
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        source.refresh()

        assert candles(source)["close"][0] == 1.7

    @pytest.mark.parametrize("damage", ["index.json", "parquet", "all"])
    def test_the_index_is_disposable(self, folder: Path, tmp_path: Path, damage: str) -> None:
        (folder / f"{MINT}.csv").write_text(PLAIN)
        before = candles(CandleFolder(folder, tmp_path / "index"))

        for path in (tmp_path / "index").iterdir():
            if path.name == damage:
                path.write_text("{ half")
            elif damage == "all" or path.suffix == f".{damage}":
                path.unlink()

        assert candles(CandleFolder(folder, tmp_path / "index")).equals(before)

    def test_new_rules_parse_again(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (folder / f"{MINT}.csv").write_text(PLAIN)
        keys = [p.name for p in (tmp_path / "index").glob("*.parquet")]
        CandleFolder(folder, tmp_path / "index").check()
        monkeypatch.setattr(index, "RULES_VERSION", 99)

        CandleFolder(folder, tmp_path / "index").check()

        assert len(list((tmp_path / "index").glob("*.candles.parquet"))) == len(keys) + 2

    def test_parses_of_files_that_are_gone_are_deleted_when_nobody_can_be_reading_them(
        self, folder: Path, tmp_path: Path
    ) -> None:
        kept, gone = folder / f"{MINT}.csv", folder / f"bsc_{EVM}.csv"
        for path in (kept, gone):
            path.write_text(PLAIN)
        CandleFolder(folder, tmp_path / "index").check()
        names = {path.name for path in (tmp_path / "index").glob("*.parquet")}
        (tmp_path / "index" / "left-by-a-killed-process.tmp").write_text("half")

        gone.unlink()
        CandleFolder(folder, tmp_path / "index").check()
        assert {path.name for path in (tmp_path / "index").glob("*.parquet")} == names

        for path in (tmp_path / "index").iterdir():
            os.utime(path, ns=(NOON * 10**9, NOON * 10**9))
        CandleFolder(folder, tmp_path / "index").check()

        left = {path.name for path in (tmp_path / "index").glob("*.*")} - {"index.json"}
        assert len(left) == len(names) / 2
        assert left < names
        before = candles(CandleFolder(folder, tmp_path / "index"))
        assert before.height == 5

    def test_a_parse_that_somebody_deleted_meanwhile_is_said(
        self, folder: Path, tmp_path: Path, source: CandleFolder
    ) -> None:
        (folder / f"{MINT}.csv").write_text(PLAIN)
        assert source.newest_ts() is not None
        for path in (tmp_path / "index").glob("*.parquet"):
            path.unlink()

        with pytest.raises(StoreUnavailable, match="deleted while it was read"):
            series_of(source, "solana", MINT)

    @pytest.mark.parametrize(
        ("text", "unit"),
        [
            (None, None),
            ("", None),
            ('volume_unit = "usd"', None),
            ('volume_unit = "token"', "token"),
        ],
    )
    def test_the_unit_of_volumes_stands_in_candles_toml(
        self, folder: Path, source: CandleFolder, text: str | None, unit: str | None
    ) -> None:
        if text is not None:
            (folder / "candles.toml").write_text(text)

        assert source.volume_unit() == unit

    @pytest.mark.parametrize(
        "text", ['volume_unit = "shells"', "volume_unit = ", "volume_unit = 1"]
    )
    def test_a_unit_that_cannot_be_understood_is_an_error(
        self, folder: Path, source: CandleFolder, text: str
    ) -> None:
        (folder / "candles.toml").write_text(text)

        with pytest.raises(ValidationFailed, match=r"candles\.toml"):
            source.volume_unit()

    def test_copies_of_one_file_are_one_source(self, folder: Path, source: CandleFolder) -> None:
        for name in (f"b_{MINT}.csv", f"a_{MINT}.csv"):
            (folder / name).write_text(PLAIN)

        (series,) = series_of(source, "solana", MINT)

        assert [s.name for s in series.sources] == [f"a_{MINT}.csv"]
        assert (series.table.num_rows, series.duplicates) == (5, 5)
