"""Each sample file, checked by hand against its CSV: rows, intervals, gaps, what is refused."""

import shutil
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import polars as pl
import pytest

from quantlab_assets.adapters.candle_folder import CandleFolder
from quantlab_assets.domain.tokens.token import Chain
from quantlab_tests.adapters.candle_series import series_of, span

SAMPLE = Path(str(files("quantlab_assets") / "sample" / "candles"))

CALLED = "0x2338c5ad75967dac2ff988fc3488109ec2406dfe"
GEQ = "GeQZP5ZSzz9u96DH6emSURXntRrQr7qqZAQnB3Nxpump"

# file, token, network, {interval_s: (first, last, candles)}, candles of null volume, traded candles
GOLDEN = [
    (
        "base_0xcaf75598b8b9a6e645b60d882845d361f549f5ec_20250901-0000_20251129-2359.csv",
        "0xcaf75598b8b9a6e645b60d882845d361f549f5ec",
        "base",
        {300: (1758135000, 1758148500, 46)},
        43,
        3,
    ),
    (
        "bsc_0x043c04d22f20b3fd3577d3d3cdb89ed3054f4444_20251007-0450_20251007-1010.csv",
        "0x043c04d22f20b3fd3577d3d3cdb89ed3054f4444",
        "bsc",
        {300: (1759773300, 1759792200, 64)},
        33,
        31,
    ),
    (
        "bsc_0x2338c5AD75967dAC2fF988FC3488109eC2406dfE_20251107-0000_20260106-0000.csv",
        CALLED,
        "bsc",
        {300: (1762434300, 1762455600, 72), 3600: (1762459200, 1762801200, 96)},
        0,
        99,
    ),
    (
        "bsc_0x2338c5ad75967dac2ff988fc3488109ec2406dfe_20251106-1940_20251107-0100.csv",
        CALLED,
        "bsc",
        {300: (1762418700, 1762437600, 64)},
        56,
        8,
    ),
    (
        "bsc_0x2685ba9d4c0386f9982169920435ddc97aa34444_20251107-2229_20260106-2229.csv",
        "0x2685ba9d4c0386f9982169920435ddc97aa34444",
        "bsc",
        {300: (1762515000, 1762536300, 72), 3600: (1762538400, 1762801200, 74)},
        0,
        146,
    ),
    (
        "bsc_0xeca1c3dde449fd83c748f9fb017da17459d84444_20251107-0039_20251107-0559.csv",
        "0xeca1c3dde449fd83c748f9fb017da17459d84444",
        "bsc",
        {300: (1762436400, 1762455300, 64)},
        45,
        19,
    ),
    (
        "bsc_0xfc7786bc084a85ff7db2a23511be62463a24648c_20250922-0956_20250922-1516.csv",
        "0xfc7786bc084a85ff7db2a23511be62463a24648c",
        "bsc",
        {300: (1758499200, 1758518100, 64)},
        17,
        47,
    ),
    (
        "solana_347k5f1WLRYe81roRcLBWDR6k3eCRunaqetQPW6pbonk_20250817-2330_20250818-0450.csv",
        "347k5f1WLRYe81roRcLBWDR6k3eCRunaqetQPW6pbonk",
        "solana",
        {300: (1755437700, 1755456600, 64)},
        0,
        64,
    ),
    (
        "solana_55WZGGCwE66xnCxBcAxKSNT49wzeaHhT9jE2xWSXpump_20251116-2042_20251117-0202.csv",
        "55WZGGCwE66xnCxBcAxKSNT49wzeaHhT9jE2xWSXpump",
        "solana",
        {300: (1763286300, 1763305200, 64)},
        34,
        30,
    ),
    (
        "solana_9Yn6bnF3eKLqocUVMxduh7WWqgQZ8DvWQDYTX9Ncpump_20251109-1520_20251109-2040.csv",
        "9Yn6bnF3eKLqocUVMxduh7WWqgQZ8DvWQDYTX9Ncpump",
        "solana",
        {300: (1762662300, 1762681200, 64)},
        0,
        64,
    ),
    (
        "solana_GeQZP5ZSzz9u96DH6emSURXntRrQr7qqZAQnB3Nxpump_20251103-0230_20260102-0230.csv",
        GEQ,
        "solana",
        {300: (1762097700, 1762119000, 72), 3600: (1762120800, 1762333200, 60)},
        0,
        113,
    ),
]
ABBREVIATED = "AFC_0xB83D4c_ethereum.csv"


def chain_of(address: str) -> Chain:
    return "evm" if address.startswith("0x") else "solana"


def utc(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def rows(source: CandleFolder, address: str) -> pl.DataFrame:
    """All candles of an address, finest interval first."""
    return pl.concat(
        pl.DataFrame(series.table) for series in series_of(source, chain_of(address), address)
    )


def test_the_sample_holds_these_files_and_no_others() -> None:
    assert sorted(p.name for p in SAMPLE.glob("*.csv")) == sorted(
        [ABBREVIATED, *(golden[0] for golden in GOLDEN)]
    )


@pytest.mark.parametrize(
    ("name", "address", "network", "expected", "no_volume", "traded"),
    GOLDEN,
    ids=[golden[0][:24] for golden in GOLDEN],
)
def test_a_sample_file_alone(
    name: str,
    address: str,
    network: str,
    expected: dict[int, tuple[int, int, int]],
    no_volume: int,
    traded: int,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "candles"
    folder.mkdir()
    shutil.copy(SAMPLE / name, folder)
    source = CandleFolder(folder, tmp_path / "index")

    found = series_of(source, chain_of(address), address)
    candles = rows(source, address)
    (check,) = source.check()

    assert {s.interval_s: span(s) for s in found} == {
        interval_s: (utc(first), utc(last), count)
        for interval_s, (first, last, count) in expected.items()
    }
    # Unbroken: as many candles as grid points from the first to the last.
    assert all((last - first) // i + 1 == n for i, (first, last, n) in expected.items())
    assert {s.token.network for s in found} == {network}
    assert (check.counts.duplicates, check.counts.conflicts, check.counts.rejected) == (0, 0, 0)
    assert check.counts.rows == candles.height == sum(n for _, _, n in expected.values())
    assert candles["volume"].null_count() == no_volume
    assert (candles["volume"] > 0).sum() == traded
    assert list(source.rejects()) == []


@pytest.fixture
def sample(tmp_path: Path) -> CandleFolder:
    return CandleFolder(SAMPLE, tmp_path / "index")


def test_prices_are_those_of_the_text(sample: CandleFolder) -> None:
    first = rows(sample, "0xfc7786bc084a85ff7db2a23511be62463a24648c").row(0, named=True)

    assert first["open"] == 4.1178873270059566e-10
    assert first["volume"] == 1133648813530.5137


def test_the_token_in_two_files_is_one_token_and_the_larger_volume_wins(
    sample: CandleFolder,
) -> None:
    fine, coarse = series_of(sample, "evm", CALLED)

    # 72 + 64 candles, 12 of them at the same times: 2 are equal, 10 say 0 and NaN for the volume.
    assert (fine.table.num_rows, fine.duplicates, fine.conflicts) == (124, 2, 10)
    assert len(fine.sources) == 2
    assert (coarse.table.num_rows, len(coarse.sources)) == (96, 1)
    at_two = rows(sample, CALLED).filter(pl.col("ts") == utc(1762437600))
    assert at_two["volume"].to_list() == [0.0]


def test_the_abbreviated_address_is_refused_with_what_to_do(sample: CandleFolder) -> None:
    refused = [check for check in sample.check() if check.refused]
    (rejects,) = sample.rejects()

    assert [(c.path, c.counts.rows, c.counts.rejected) for c in refused] == [
        (ABBREVIATED, 576, 576)
    ]
    assert refused[0].refused is not None
    assert refused[0].refused[0] == "unresolvable_token"
    assert "tokens.csv: 0xB83D4c,<full address>,<network>" in refused[0].refused[1]
    assert rejects.rows.select("row_number", "error_code").rows() == [(0, "unresolvable_token")]
    assert rejects.tokens == ()


@pytest.mark.parametrize("key", ["0xB83D4c", ABBREVIATED, "afc_0xb83d4c_ethereum"])
def test_a_mapping_names_the_abbreviated_address(key: str, tmp_path: Path) -> None:
    full = "0xB83D4c" + "a" * 34
    folder = tmp_path / "candles"
    folder.mkdir()
    shutil.copy(SAMPLE / ABBREVIATED, folder)
    (folder / "tokens.csv").write_text(f"file,address,network\n{key},{full},\n")

    (series,) = series_of(CandleFolder(folder, tmp_path / "index"), "evm", full)

    assert series.token.address == full.lower()
    assert series.token.network == "ethereum"
    assert series.interval_s == 300
    assert span(series) == (utc(1759005900), utc(1759178400), 576)


def test_the_newest_candle_is_that_of_the_newest_file(sample: CandleFolder) -> None:
    assert sample.newest_ts() == utc(1763305200)


def test_names_and_order_of_files_change_nothing(sample: CandleFolder, tmp_path: Path) -> None:
    turned = tmp_path / "turned"
    for number, path in enumerate(sorted(SAMPLE.glob("*.csv"), reverse=True)):
        into = turned / f"{number}"
        into.mkdir(parents=True)
        shutil.copy(path, into)
    other = CandleFolder(turned, tmp_path / "other")

    for _, address, *_ in GOLDEN:
        assert rows(sample, address).equals(rows(other, address))
        assert series_of(sample, chain_of(address), address) == series_of(
            other, chain_of(address), address
        )
