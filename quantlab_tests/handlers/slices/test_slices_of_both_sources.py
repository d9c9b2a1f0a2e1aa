"""ClickHouse and files give identical slices of the same candles; neither gives one too many."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantlab_assets.adapters.candle_folder import CandleFolder
from quantlab_assets.adapters.candle_folder.intake import GivenFiles
from quantlab_assets.adapters.clickhouse import (
    CandleInserter,
    ClickHouseCandles,
    Connection,
    TableMapping,
)
from quantlab_assets.domain.artifacts.canonical_order import canonical_table
from quantlab_assets.domain.artifacts.content_hash import content_hash
from quantlab_assets.domain.artifacts.identity import artifact_id_of
from quantlab_assets.domain.artifacts.records import ArtifactDraft, PartitionOutput
from quantlab_assets.domain.artifacts.seed_types import OHLCV_SLICE
from quantlab_assets.domain.slices.plan import SliceWindow
from quantlab_assets.handlers.ingest.candles import ingest_candles
from quantlab_assets.handlers.slices.export import slices_of_day
from quantlab_assets.ports.candle_source import CandleSource
from quantlab_assets.sample import sample_path
from quantlab_tests.adapters.clickhouse.engine import embedded, make_table, new_database, put
from quantlab_tests.handlers.slices.test_export import EVM, MINT, OTHER, alerts

DAY = date(2025, 11, 6)
NOON = datetime(2025, 11, 6, 12, tzinfo=UTC)
NOON_S = int(NOON.timestamp())
CALLS = {
    date(2025, 11, 6): [
        (EVM, "bsc", datetime(2025, 11, 6, 13, 0, 33, tzinfo=UTC)),
        (OTHER, None, datetime(2025, 11, 6, 17, 59, 50, tzinfo=UTC)),
    ],
    date(2025, 11, 9): [(MINT, None, datetime(2025, 11, 9, 8, 40, 25, tzinfo=UTC))],
}


def identity(draft: ArtifactDraft) -> tuple[str, str]:
    table = canonical_table(draft.table, OHLCV_SLICE)
    content = content_hash(table)
    return draft.logical_key, artifact_id_of(OHLCV_SLICE.name, 2, draft.logical_key, content)


def same(one: PartitionOutput, other: PartitionOutput) -> bool:
    return [identity(draft) for draft in one.drafts] == [identity(draft) for draft in other.drafts]


def test_the_sample_from_files_and_from_a_table_gives_the_same_artifacts(tmp_path: Path) -> None:
    connection = Connection(embedded(new_database()))
    files = sample_path() / "candles"
    target = CandleInserter(connection, TableMapping())
    given_files = GivenFiles([files])

    first = ingest_candles(given_files, target, lambda _: None)
    again = ingest_candles(given_files, CandleInserter(connection, TableMapping()), lambda _: None)

    assert first.inserted is not None
    assert again.inserted is not None
    assert (first.counts.rows, first.counts.candles, first.unresolvable) == (1516, 940, 1)
    # 12 of them stand in two files of one token: two alike, ten that lose.
    assert (first.inserted.new, first.inserted.there) == (928, 12)
    assert (again.inserted.new, again.inserted.there) == (0, 940)
    folder = CandleFolder(files, tmp_path / "index")
    table = ClickHouseCandles(connection)
    assert table.newest_ts() == folder.newest_ts()
    for day, called in CALLS.items():
        of_files = slices_of_day(day, alerts(*called), folder)
        of_table = slices_of_day(day, alerts(*called), table)
        assert of_files.drafts
        assert same(of_files, of_table)
        assert [d.tags["grade"] for d in of_files.drafts] == [
            d.tags["grade"] for d in of_table.drafts
        ]
        assert {s.kind for d in of_table.drafts for s in d.sources} == {"clickhouse"}


def test_a_slice_names_only_the_files_that_hold_a_row_of_it(tmp_path: Path) -> None:
    def lines(start: int) -> str:
        rows = "".join(f"{start + 300 * i},1,2,0.5,1.5,{i}\n" for i in range(12))
        return "timestamp,open,high,low,close,volume\n" + rows

    folder = tmp_path / "candles"
    folder.mkdir()
    for name, start in (("a", NOON_S), ("b", NOON_S), ("late", NOON_S + 7 * 86_400)):
        (folder / f"bsc_{EVM}_{name}.csv").write_text(
            lines(start) if name != "b" else lines(start).replace(",1.5,", ",1.6,", 1)
        )
    source = CandleFolder(folder, tmp_path / "index")

    (draft,) = slices_of_day(DAY, alerts((EVM, "bsc", NOON)), source).drafts

    assert sorted(one.name for one in draft.sources) == [
        f"bsc_{EVM}_a.csv",
        f"bsc_{EVM}_b.csv",
    ]
    assert draft.tags["duplicate_rows"] == "11"
    assert draft.tags["conflicting_rows"] == "1"


BAD = {
    "non_positive_price": {"open": 0.0},
    "high_below_body": {"high": 1.2},
    "low_above_body": {"low": 1.4},
    "bad_volume": {"volume": -1.0},
}


@pytest.fixture(scope="module")
def connection() -> Connection:
    made = Connection(embedded(new_database()))
    make_table(made)
    return made


@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from([(EVM, "bsc"), (EVM, "base"), (OTHER, ""), (MINT, "")]),
            st.sampled_from([60, 300, 3600]),
            st.integers(-30, 60),
            st.sampled_from([1.0, 1.5, 1.9]),
            st.sampled_from([None, 0.0, 1.0, 2.0]),
            st.sampled_from([None, None, None, *BAD]),
        ),
        max_size=60,
    ),
    seed=st.integers(0, 9),
    called=st.lists(
        st.tuples(st.sampled_from([EVM, OTHER, MINT]), st.integers(0, 600)), min_size=1, max_size=4
    ),
)
@settings(max_examples=25, deadline=None)
def test_holes_duplicates_disorder_and_bad_rows_give_both_the_same_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory,
    connection: Connection,
    rows: list[tuple[tuple[str, str], int, int, float, float | None, str | None]],
    seed: int,
    called: list[tuple[str, int]],
) -> None:
    # Rows that tie in volume and differ in price are another matter: files know which was last.
    seen: dict[object, float] = {}
    records = []
    for (address, network), interval_s, n, close, volume, bad in rows:
        ts = NOON_S + n * interval_s
        if (
            bad is None
            and seen.setdefault((address, network, interval_s, ts, volume), close) != close
        ):
            continue
        record = {"open": 1.0, "high": 2.0, "low": 0.5, "close": close, "volume": volume}
        record |= BAD[bad] if bad else {}
        records.append((address, network, interval_s, ts, *record.values()))
    frame = pl.DataFrame(
        records,
        schema={
            **{"token_address": pl.String, "token_chain": pl.String, "interval_s": pl.UInt32},
            **{"ts": pl.UInt32, "open": pl.Float64, "high": pl.Float64, "low": pl.Float64},
            **{"close": pl.Float64, "volume": pl.Float64},
        },
        orient="row",
    ).sample(fraction=1.0, shuffle=True, seed=seed)
    connection.command("TRUNCATE TABLE candles")
    put(connection, frame)
    folder = tmp_path_factory.mktemp("both")
    (folder / "candles").mkdir()
    frame.write_parquet(folder / "candles" / "all.parquet")
    sources: list[CandleSource] = [
        CandleFolder(folder / "candles", folder / "index"),
        ClickHouseCandles(connection),
    ]
    wanted = alerts(*((address, None, NOON + timedelta(minutes=m)) for address, m in called))
    window = SliceWindow(pre_s=600, post_s=1800)

    of_files, of_table = (slices_of_day(DAY, wanted, source, window) for source in sources)

    assert same(of_files, of_table)
    assert sources[0].newest_ts() == sources[1].newest_ts()
    for name in ("slices", "candles", "tokens_without_candles", "duplicate_rows"):
        assert of_files.counts[name] == of_table.counts[name]
    for draft in of_table.drafts:
        fields = OHLCV_SLICE.parse_key(draft.logical_key)
        held = pl.DataFrame(draft.table)
        assert held["token_address"].unique().to_list() == [fields["token"].rpartition(":")[2]]
        assert held["interval_s"].n_unique() == 1
        assert held["ts"].is_sorted()
        assert held["ts"].is_unique().all()
        assert held["ts"].min() >= datetime.fromisoformat(fields["from"])  # type: ignore[operator]
        assert held["ts"].max() < datetime.fromisoformat(fields["to"])  # type: ignore[operator]
