"""Coverage of a day as artifacts, from the sample's calls to the summary."""

from datetime import UTC, date, datetime
from importlib.resources import files
from pathlib import Path

import polars as pl
import pytest

from quantlab_assets.adapters.candle_folder import CandleFolder
from quantlab_assets.domain.artifacts.seed_types import (
    ALERT_FORWARD_COVERAGE,
    COVERAGE_GAPS,
    COVERAGE_SUMMARY,
    OHLCV_SLICE,
)
from quantlab_assets.domain.slices.windows import windows_of
from quantlab_assets.handlers.coverage.analyse import coverage_of_day, summarise_coverage
from quantlab_assets.handlers.slices.export import slices_of_day

SAMPLE = Path(str(files("quantlab_assets") / "sample" / "candles"))
PRESALE = "0x2338c5ad75967dac2ff988fc3488109ec2406dfe"
GEQ = "GeQZP5ZSzz9u96DH6emSURXntRrQr7qqZAQnB3Nxpump"
YN6 = "9Yn6bnF3eKLqocUVMxduh7WWqgQZ8DvWQDYTX9Ncpump"
NO_SLICES = pl.DataFrame(OHLCV_SLICE.empty())

# token, called at, then by horizon: expected, there, traded, reason (all at five minutes)
CALLS = [
    (
        PRESALE,
        datetime(2025, 11, 6, 13, 0, 33, tzinfo=UTC),
        {
            -4: (48, 48, 6, "ok"),
            1: (12, 12, 2, "ok"),
            4: (48, 48, 17, "ok"),
            24: (288, 72, 21, "ends_early"),
        },
    ),
    (
        "0xeca1c3dde449fd83c748f9fb017da17459d84444",
        datetime(2025, 11, 6, 17, 59, 50, tzinfo=UTC),
        {-4: (48, 48, 7, "ok"), 1: (12, 12, 12, "ok"), 24: (288, 12, 12, "ends_early")},
    ),
    (
        "0x2685ba9d4c0386f9982169920435ddc97aa34444",
        datetime(2025, 11, 7, 11, 29, 45, tzinfo=UTC),
        {-4: (48, 0, 0, "starts_late"), 4: (48, 48, 48, "ok"), 24: (288, 72, 72, "ends_early")},
    ),
    (
        GEQ,
        datetime(2025, 11, 2, 15, 30, 16, tzinfo=UTC),
        {-4: (48, 0, 0, "starts_late"), 4: (48, 48, 48, "ok"), 24: (288, 72, 70, "ends_early")},
    ),
    (
        YN6,
        datetime(2025, 11, 9, 8, 40, 25, tzinfo=UTC),
        {-4: (48, 48, 48, "ok"), 1: (12, 12, 12, "ok"), 24: (288, 12, 12, "ends_early")},
    ),
]


def alerts(mint: str, ts: datetime) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "alert_id": [f"1:2:{mint}"],
            "chain": ["evm" if mint.startswith("0x") else "solana"],
            "token_chain": [None],
            "mint": [mint],
            "caller_name_norm": ["caller_01"],
            "alert_ts_utc": [ts],
        },
        schema_overrides={"token_chain": pl.String, "alert_ts_utc": pl.Datetime("us", "UTC")},
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> CandleFolder:
    return CandleFolder(SAMPLE, tmp_path_factory.mktemp("index"))


@pytest.mark.parametrize(("mint", "ts", "expected"), CALLS, ids=[mint[:8] for mint, *_ in CALLS])
def test_the_calls_of_the_sample(
    mint: str,
    ts: datetime,
    expected: dict[int, tuple[int, int, int, str]],
    source: CandleFolder,
) -> None:
    called = alerts(mint, ts)
    slices = slices_of_day(ts.date(), called, source).drafts
    rows = pl.concat([pl.DataFrame(draft.table) for draft in slices])

    coverage = coverage_of_day(
        ts.date(),
        called.lazy(),
        rows.lazy(),
        source.newest_ts(),
        windows=windows_of(draft.logical_key for draft in slices),
    )

    (forward,) = coverage.forward.drafts
    (gaps,) = coverage.gaps.drafts
    assert forward.table.schema.equals(ALERT_FORWARD_COVERAGE.schema)
    assert gaps.table.schema.equals(COVERAGE_GAPS.schema)
    assert forward.logical_key == gaps.logical_key == f"day={ts.date()}"
    assert forward.params["newest_ts"] == "2025-11-16T15:00:00Z"
    by_horizon = {row["horizon_h"]: row for row in forward.table.to_pylist()}
    assert sorted(by_horizon) == [-4, 1, 4, 12, 24, 48]
    for horizon, (grid, there, traded, reason) in expected.items():
        row = by_horizon[horizon]
        assert (
            row["interval_s"],
            row["expected_candles"],
            row["actual_candles"],
            row["traded_candles"],
            row["reason"],
        ) == (300, grid, there, traded, reason)
    missing = sum(gap["missing_candles"] for gap in gaps.table.to_pylist())
    assert missing == sum(int(d.tags["expected_candles"]) - d.table.num_rows for d in slices)

    planned = coverage_of_day(ts.date(), called, rows, source.newest_ts())
    assert planned.forward.drafts[0].table.equals(forward.table)
    assert planned.gaps.drafts[0].table.equals(gaps.table)


def test_calls_without_slices_are_there_with_their_reason() -> None:
    day = date(2025, 11, 9)

    coverage = coverage_of_day(
        day, alerts(YN6, datetime(2025, 11, 9, 8, tzinfo=UTC)), NO_SLICES, None, horizons=[1, 4]
    )

    assert [r["reason"] for r in coverage.forward.drafts[0].table.to_pylist()] == ["no_slice"] * 2
    assert coverage.forward.counts["reason_no_slice"] == 2
    assert coverage.gaps.drafts == ()


def test_a_day_without_calls_has_no_coverage() -> None:
    none = alerts(YN6, datetime(2025, 11, 9, 8, tzinfo=UTC)).clear()

    coverage = coverage_of_day(date(2025, 11, 9), none, NO_SLICES, None)

    assert (coverage.forward.drafts, coverage.gaps.drafts) == ((), ())


def test_the_summary_is_one_artifact_over_all_days() -> None:
    frames = {}
    for _, ts in (
        (YN6, datetime(2025, 11, 9, 8, tzinfo=UTC)),
        (GEQ, datetime(2025, 11, 2, tzinfo=UTC)),
    ):
        output = coverage_of_day(ts.date(), alerts(YN6, ts), NO_SLICES, None, horizons=[24])
        frames[ts.date().isoformat()] = pl.LazyFrame(output.forward.drafts[0].table)

    (draft,) = summarise_coverage(frames).drafts

    assert draft.logical_key == "scope=all"
    assert draft.table.schema.equals(COVERAGE_SUMMARY.schema)
    assert [(r["day"], r["alerts"], r["none"]) for r in draft.table.to_pylist()] == [
        (date(2025, 11, 2), 1, 1),
        (date(2025, 11, 9), 1, 1),
    ]
    assert summarise_coverage({}).drafts == ()
