"""Slices of a day: which, with what in them, and what was refused."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantlab_assets.adapters.candle_folder import CandleFolder
from quantlab_assets.domain.artifacts.records import PartitionOutput, SourceFile
from quantlab_assets.domain.artifacts.seed_types import CANDLES_QUARANTINE, OHLCV_SLICE
from quantlab_assets.domain.candles.normalise import reject_file
from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.slices.plan import SliceWindow
from quantlab_assets.domain.tokens.token import Token
from quantlab_assets.handlers.slices.export import newest_ts_of, slices_of_day
from quantlab_assets.ports.candle_source import CandleRejects
from quantlab_tests.in_memory.candle_source import InMemoryCandles

DAY = date(2025, 11, 6)
NOON = datetime(2025, 11, 6, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
EVM = "0x2338c5ad75967dac2ff988fc3488109ec2406dfe"
OTHER = "0xeca1c3dde449fd83c748f9fb017da17459d84444"
MINT = "9Yn6bnF3eKLqocUVMxduh7WWqgQZ8DvWQDYTX9Ncpump"
WINDOW = SliceWindow(pre_s=600, post_s=1800)


def alerts(*rows: tuple[str, str | None, datetime]) -> pl.DataFrame:
    return pl.DataFrame(
        [("solana" if mint == MINT else "evm", mint, network, ts) for mint, network, ts in rows],
        schema={
            "chain": pl.String,
            "mint": pl.String,
            "token_chain": pl.String,
            "alert_ts_utc": pl.Datetime("us", "UTC"),
        },
        orient="row",
    )


def candles(
    token: Token, minutes: Iterable[float], interval_s: int = 300, volume: float | None = 1.0
) -> pl.DataFrame:
    return pl.DataFrame(
        [
            (
                token.address,
                token.chain,
                token.network,
                interval_s,
                NOON + timedelta(minutes=m),
                1.0,
                2.0,
                0.5,
                1.5,
                volume,
            )
            for m in minutes
        ],
        schema=pl.DataFrame(OHLCV_SLICE.empty()).schema,
        orient="row",
    )


ON_BSC, ON_BASE, ANYWHERE = (Token("evm", EVM, network) for network in ("bsc", "base", None))


def keys(output: PartitionOutput) -> list[str]:
    return [draft.logical_key for draft in output.drafts]


def test_a_slice_is_the_window_around_the_calls_and_says_what_it_is() -> None:
    source = InMemoryCandles(candles(ON_BSC, range(-60, 120, 5)))

    output = slices_of_day(DAY, alerts((EVM, "bsc", NOON + MINUTE)), source, WINDOW)

    (draft,) = output.drafts
    assert draft.artifact_type == "ohlcv_slice_v2"
    assert draft.logical_key == (
        f"token=bsc:{EVM}/res=5m/from=2025-11-06T11:50:00Z/to=2025-11-06T12:35:00Z"
    )
    assert draft.table.schema.equals(OHLCV_SLICE.schema)
    assert draft.table["ts"].to_pylist() == [NOON + m * MINUTE for m in range(-10, 35, 5)]
    assert draft.tags == {
        "token": EVM,
        "chain": "evm",
        "network": "bsc",
        "res": "5m",
        "grade": "good",
        "coverage": "1.000000",
        "expected_candles": "9",
        "traded_candles": "9",
        "gaps": "0",
        "duplicate_rows": "0",
        "conflicting_rows": "0",
    }
    assert draft.params == {
        "window_from": "2025-11-06T11:50:00Z",
        "window_to": "2025-11-06T12:35:00Z",
        "pre_s": 600,
        "post_s": 1800,
        "newest_ts": "2025-11-06T13:55:00Z",
        "rules_version": 2,
    }
    assert len(draft.sources) == 1


def test_one_slice_for_each_token_network_and_interval_with_a_candle_in_the_window() -> None:
    source = InMemoryCandles(
        pl.concat(
            [
                candles(ON_BSC, [0, 5]),
                candles(ON_BSC, [0], 3600),
                candles(ON_BASE, [0]),
                candles(ANYWHERE, [0]),
                candles(ON_BSC, [600], 60),
            ]
        )
    )

    everywhere = slices_of_day(DAY, alerts((EVM, None, NOON)), source, WINDOW)
    on_base = slices_of_day(DAY, alerts((EVM, "base", NOON)), source, WINDOW)

    assert [(d.tags.get("network"), d.tags["res"]) for d in everywhere.drafts] == [
        (None, "5m"),
        ("base", "5m"),
        ("bsc", "1h"),
        ("bsc", "5m"),
    ]
    assert keys(on_base) == keys(everywhere), "whatever network the calls name"


def test_a_token_without_candles_gives_no_slice_and_is_counted() -> None:
    source = InMemoryCandles(candles(ON_BSC, [600]))

    output = slices_of_day(
        DAY, alerts((EVM, "bsc", NOON), (OTHER, None, NOON), (MINT, None, NOON)), source, WINDOW
    )

    assert output.drafts == ()
    assert (output.counts["tokens_called"], output.counts["tokens_without_candles"]) == (3, 3)


def test_poor_slices_are_published_with_their_grade() -> None:
    source = InMemoryCandles(candles(ON_BSC, [0], volume=None))

    (draft,) = slices_of_day(DAY, alerts((EVM, "bsc", NOON)), source, WINDOW).drafts

    assert (draft.tags["grade"], draft.tags["coverage"]) == ("poor", "0.125000")
    assert draft.tags["traded_candles"] == "0"
    assert draft.tags["gaps"] == "2"


def test_a_volume_unit_other_than_dollars_is_a_tag() -> None:
    source = InMemoryCandles(candles(ON_BSC, [0]), volume_unit="token")

    (draft,) = slices_of_day(DAY, alerts((EVM, "bsc", NOON)), source).drafts

    assert draft.tags["volume_unit"] == "token"


def test_alerts_of_another_day_are_refused() -> None:
    with pytest.raises(ValidationFailed, match="another day"):
        slices_of_day(
            DAY, alerts((EVM, "bsc", NOON + timedelta(days=1))), InMemoryCandles(), WINDOW
        )


def test_no_alerts_no_slices() -> None:
    assert slices_of_day(DAY, alerts().lazy(), InMemoryCandles()).drafts == ()


def test_refused_rows_come_along_for_files_of_the_days_tokens_and_of_unknown_ones() -> None:
    def refused(name: str, digit: str, *tokens: Token) -> CandleRejects:
        source = SourceFile(f"sha256:{digit * 64}", name, 1, "candles_csv")
        return CandleRejects(source, reject_file("empty_file", "empty", name=name), tokens)

    source = InMemoryCandles(
        candles(ON_BSC, [0]),
        [
            refused("a.csv", "a", ON_BSC),
            refused("b.csv", "b", Token("evm", OTHER)),
            refused("copy of a.csv", "a", ON_BSC),
            refused("c.csv", "c"),
        ],
    )

    output = slices_of_day(DAY, alerts((EVM, "bsc", NOON)), source, WINDOW)

    draft, unknown = output.loose
    assert unknown.logical_key == f"source={'c' * 16}"
    assert draft.logical_key == f"source={'a' * 16}"
    assert draft.table.schema.equals(CANDLES_QUARANTINE.schema)
    assert [s.name for s in draft.sources] == ["a.csv"]
    assert draft.table.num_rows == 2
    assert output.counts["quarantined_rows"] == 3


def test_the_newest_time_is_the_latest_any_publication_recorded() -> None:
    recorded = [{"newest_ts": "2025-11-06T12:00:00Z"}, {"newest_ts": None}, {}]

    assert newest_ts_of(recorded) == NOON
    assert newest_ts_of([*recorded, {"newest_ts": "2025-11-06T12:05:00Z"}]) == NOON + 5 * MINUTE
    assert newest_ts_of([]) is None


def test_the_sample_calls_of_a_day(tmp_path: Path) -> None:
    folder = Path(str(files("quantlab_assets") / "sample" / "candles"))
    called = alerts(
        (EVM, "bsc", datetime(2025, 11, 6, 13, 0, 33, tzinfo=UTC)),
        (OTHER, None, datetime(2025, 11, 6, 17, 59, 50, tzinfo=UTC)),
    )

    output = slices_of_day(DAY, called, CandleFolder(folder, tmp_path / "index"))

    assert {
        key: draft.table.num_rows for key, draft in zip(keys(output), output.drafts, strict=True)
    } == {
        f"token=bsc:{EVM}/res=1h/from=2025-11-06T08:00:00Z/to=2025-11-08T14:00:00Z": 42,
        f"token=bsc:{EVM}/res=5m/from=2025-11-06T08:40:00Z/to=2025-11-08T13:05:00Z": 124,
        f"token=bsc:{OTHER}/res=5m/from=2025-11-06T13:35:00Z/to=2025-11-08T18:00:00Z": 64,
    }
    assert output.counts["slices_poor"] == 3
    assert (output.counts["duplicate_rows"], output.counts["conflicting_rows"]) == (2, 10)


@given(
    data=st.data(),
    called=st.lists(
        st.tuples(
            st.sampled_from([EVM, OTHER, MINT]),
            st.sampled_from([None, "bsc", "base"]),
            st.integers(0, 600),
        ),
        min_size=1,
        max_size=6,
    ),
)
@settings(max_examples=40, deadline=None)
def test_a_slice_never_holds_a_candle_outside_its_window_or_of_another_token_or_interval(
    data: st.DataObject, called: list[tuple[str, str | None, int]]
) -> None:
    tokens = [Token("evm", a, n) for a in (EVM, OTHER) for n in (None, "bsc", "base")]
    frames = [
        candles(token, sorted(minutes), interval_s)
        for token in [*tokens, Token("solana", MINT, "solana")]
        for interval_s, step in ((60, 1), (300, 5), (3600, 60))
        if (
            minutes := {
                step * i for i in data.draw(st.sets(st.integers(-50, 700 // step), max_size=8))
            }
        )
    ]
    source = InMemoryCandles(pl.concat(frames) if frames else None)
    rows = alerts(*((a, None if a == MINT else n, NOON + m * MINUTE) for a, n, m in called))

    output = slices_of_day(DAY, rows, source, WINDOW)

    for draft in output.drafts:
        fields = OHLCV_SLICE.parse_key(draft.logical_key)
        network, _, address = fields["token"].rpartition(":")
        held = pl.DataFrame(draft.table)
        assert held.height > 0
        assert held["token_address"].unique().to_list() == [address]
        assert held["token_chain"].unique().to_list() == [
            "solana" if address == MINT else network or None
        ]
        assert held["interval_s"].n_unique() == 1
        assert held["ts"].is_sorted()
        assert held["ts"].min() >= datetime.fromisoformat(fields["from"])
        assert held["ts"].max() < datetime.fromisoformat(fields["to"])
    shuffled = slices_of_day(DAY, rows.reverse(), source, WINDOW)
    assert keys(shuffled) == keys(output)
    assert all(a.table.equals(b.table) for a, b in zip(output.drafts, shuffled.drafts, strict=True))
