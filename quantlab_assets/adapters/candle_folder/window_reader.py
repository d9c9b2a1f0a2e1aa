"""Reads the parsed candles of many windows at once: each file once, however many windows it has."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from quantlab_assets.adapters.candle_folder.index import (
    CandleIndex,
    IndexedContent,
    IndexedSeries,
)
from quantlab_assets.domain.artifacts.records import SourceFile
from quantlab_assets.domain.candles.normalise import TOKEN_COLUMNS, one_candle_a_time
from quantlab_assets.domain.candles.windows import CandleTable, CutWindow
from quantlab_assets.domain.time_us import to_us
from quantlab_assets.domain.tokens.token import Token
from quantlab_assets.ports.candle_source import CandleWindow, WindowCandles

SERIES: Final = (*TOKEN_COLUMNS, "interval_s")
WHOLE_ROWS: Final = 20_000
"""Files of fewer candles are read whole: to look for the right rows would take longer."""
_COARSEST: Final = timedelta(days=1)

SeriesKey = tuple[Token, int]


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the folder, and what parsing its content came to."""

    source: SourceFile
    path: str
    content: IndexedContent


Part = tuple[Entry, IndexedSeries]


class WindowReader:
    """The candles of a batch of windows; `parts` are all series of the addresses asked for."""

    def __init__(
        self, index: CandleIndex, parts: Sequence[Part], windows: Sequence[CandleWindow]
    ) -> None:
        self._sources: dict[SeriesKey, list[SourceFile]] = {}
        entries: dict[str, Entry] = {}
        for entry, series in parts:
            self._sources.setdefault((series.token, series.interval_s), []).append(entry.source)
            entries[entry.path] = entry
        self._table: CandleTable | None = None
        self._times: dict[tuple[SeriesKey, str], npt.NDArray[np.int64]] = {}
        if entries:
            self._table = self._read(index, list(entries.values()), windows)

    def cut(self, window: CandleWindow) -> Iterator[WindowCandles]:
        """What there is of one of the windows, by interval and network."""
        if self._table is None:
            return
        for cut in self._table.cut(window.chain, window.address, window.start, window.end):
            yield WindowCandles(
                token=cut.token,
                interval_s=cut.interval_s,
                start=cut.start,
                end=cut.end,
                table=self._table.rows(cut),
                sources=self._contributing(cut),
                duplicates=self._table.duplicates(cut),
                conflicts=self._table.conflicts(cut),
            )

    def _read(
        self, index: CandleIndex, entries: Sequence[Entry], windows: Sequence[CandleWindow]
    ) -> CandleTable:
        wanted = pl.col("token_address").is_in(sorted({window.address for window in windows}))
        first = min(window.start for window in windows) - _COARSEST
        last = max(window.end for window in windows) + _COARSEST
        frames: dict[str, pl.DataFrame] = {}
        for entry in entries:
            key = entry.content.key
            if key not in frames:
                parsed = index.parsed(key)
                if entry.content.counts.candles > WHOLE_ROWS:
                    parsed = parsed.filter(wanted, pl.col("ts") >= first, pl.col("ts") < last)
                frames[key] = parsed.collect()
        if all(len(sources) == 1 for sources in self._sources.values()):
            return CandleTable(pl.concat(frames.values(), rechunk=True))
        candles = pl.concat(
            frames[entry.content.key].with_columns(pl.lit(entry.source.sha256).alias("source"))
            for entry in entries
        )
        shared = pl.DataFrame(
            [
                (token.chain, token.address, token.network, interval_s)
                for (token, interval_s), sources in self._sources.items()
                if len(sources) > 1
            ],
            schema={name: candles.schema[name] for name in SERIES},
            orient="row",
        )
        contended = candles.join(shared, on=SERIES, how="semi", nulls_equal=True)
        for (chain, address, network, interval_s, sha256), rows in contended.group_by(
            *SERIES, "source", maintain_order=True
        ):
            token = Token(chain, address, network)
            self._times[(token, int(interval_s)), str(sha256)] = np.sort(
                rows["ts"].cast(pl.Int64).to_numpy()
            )
        alone = candles.join(shared, on=SERIES, how="anti", nulls_equal=True, maintain_order="left")
        settled = one_candle_a_time(contended).select(alone.columns)
        return CandleTable(pl.concat([alone, settled]))

    def _contributing(self, window: CutWindow) -> tuple[SourceFile, ...]:
        """The files that have a row in the window; of copies the first by name."""
        series = (window.token, window.interval_s)
        sources = self._sources[series]
        by_hash: dict[str, SourceFile] = {}
        edges = [to_us(window.start), to_us(window.end)]
        for source in sorted(sources, key=lambda file: (file.sha256, file.name)):
            if len(sources) > 1:
                first, last = np.searchsorted(self._times[series, source.sha256], edges)
                if first == last:
                    continue
            by_hash.setdefault(source.sha256, source)
        return tuple(by_hash.values())
