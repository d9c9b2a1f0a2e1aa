"""`ClickHouseCandles`: the candle source over a table of a ClickHouse."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from quantlab_assets.adapters.clickhouse.connection import Connection
from quantlab_assets.adapters.clickhouse.mapping import TableMapping
from quantlab_assets.adapters.clickhouse.rows import (
    Address,
    ReadRows,
    normalised_rows,
    unresolved_addresses,
)
from quantlab_assets.adapters.clickhouse.table import CandleTableShape, Span, describe
from quantlab_assets.domain.candles.normalise import FIRST_US, TIMES_END_US
from quantlab_assets.domain.candles.windows import CandleTable
from quantlab_assets.domain.time_us import from_us, to_us
from quantlab_assets.domain.tokens.addresses import token_of
from quantlab_assets.domain.tokens.token import Chain, fold_address
from quantlab_assets.ports.candle_source import (
    CandleRejects,
    CandleWindow,
    FoundCandles,
    WindowCandles,
)

BATCH_ROWS: Final = 1_000_000
BATCH_ADDRESSES: Final = 256
_DAY_US: Final = 86_400_000_000
_LOOK_BACK: Final = (timedelta(days=2), timedelta(days=60), None)
_NEWEST_TOKENS: Final = 16


@dataclass(frozen=True, slots=True)
class _TokenExtent:
    """What the table has of one address: how it is written there, rows and times in all."""

    written: tuple[str, ...]
    rows: int
    first_us: int
    last_us: int

    def rows_in(self, span: Span | None) -> int:
        """About how many rows there are in a range, were they spread evenly."""
        if span is None or self.last_us <= self.first_us:
            return self.rows
        share = (span.end_us - span.start_us) / (self.last_us - self.first_us)
        return int(self.rows * min(1.0, share)) + 1


@dataclass(frozen=True, slots=True)
class _Catalogue:
    shape: CandleTableShape
    tokens: dict[Address, _TokenExtent]
    networks: tuple[str, ...]
    unresolved: tuple[CandleRejects, ...]


class ClickHouseCandles:
    """Candles of a table. Implements `CandleSource`.

    Which tokens there are is asked once, at first use; `refresh` asks again. Rows are read when
    they are wanted, those of many tokens in one query, and go through the same rules as files. A
    table that says intervals is read in the windows asked for; of one that does not, all rows of a
    token are read, since only together they tell.

    Raises `StoreUnavailable` where the server cannot be used, `NotFound` for a missing table and
    `ValidationFailed` for columns that cannot be candles'.
    """

    def __init__(self, connection: Connection, mapping: TableMapping | None = None) -> None:
        self._connection = connection
        self._mapping = mapping or TableMapping()
        self._catalogue: _Catalogue | None = None
        self._newest: tuple[datetime | None] | None = None

    def __repr__(self) -> str:
        return f"ClickHouseCandles({self._connection.where!r}, {self._mapping.name!r})"

    def refresh(self) -> None:
        """Look at the table again."""
        self._catalogue = self._newest = None
        self._look()

    def count(self) -> tuple[int, int]:
        """Tokens (an address once) and rows of the table."""
        tokens = self._look().tokens
        return len(tokens), sum(token.rows for token in tokens.values())

    def volume_unit(self) -> str | None:
        """See `CandleSource`: what the mapping says."""
        return self._mapping.volume_unit

    def windows(self, wanted: Sequence[CandleWindow]) -> Iterator[FoundCandles]:
        """See `CandleSource`. One query for many windows."""
        for batch in self._batches(wanted):
            ranges = {
                _at(window.chain, window.address): self._range(window.start, window.end)
                for window in batch
                if _at(window.chain, window.address) in self._look().tokens
            }
            read = self._read(ranges) if ranges else None
            table = None if read is None else CandleTable(read.normalised.candles)
            for window in batch:
                at = _at(window.chain, window.address)
                if read is None or table is None or at not in read.by_address:
                    yield FoundCandles()
                    continue
                rows = read.by_address[at]
                yield FoundCandles(
                    tuple(
                        WindowCandles(
                            token=cut.token,
                            interval_s=cut.interval_s,
                            start=cut.start,
                            end=cut.end,
                            table=table.rows(cut),
                            sources=(rows.source,),
                            duplicates=table.duplicates(cut),
                            conflicts=table.conflicts(cut),
                        )
                        for cut in table.cut(*at, window.start, window.end)
                    ),
                    _refused(read, [at]),
                )

    def newest_ts(self) -> datetime | None:
        """See `CandleSource`: of rows that are candles by the rules, not of any row."""
        if self._newest is None:
            self._newest = (self._find_newest(),)
        return self._newest[0]

    def rejects(self) -> Sequence[CandleRejects]:
        """See `CandleSource`. Reads the whole table, a batch of tokens at a time."""
        refused: list[CandleRejects] = []
        for batch in self._all_in_batches():
            refused += _refused(self._read(dict.fromkeys(batch)), batch)
        return [*refused, *self.unresolved()]

    def unresolved(self) -> Sequence[CandleRejects]:
        """See `CandleSource`: the addresses that are none, together as one."""
        return self._look().unresolved

    def _look(self) -> _Catalogue:
        if self._catalogue is None:
            shape = describe(self._connection, self._mapping)
            answer = pl.DataFrame(self._connection.read(shape.tokens_query()))
            written: dict[Address, list[tuple[str, int, int, int]]] = {}
            strange: list[tuple[str, str]] = []
            for address, word, rows, first_us, last_us in answer.sort(pl.all()).iter_rows():
                token = token_of(address, word)
                if token is None:
                    strange.append((address, word))
                else:
                    at = (token.chain, token.address)
                    written.setdefault(at, []).append((address, rows, first_us, last_us))
            refused = unresolved_addresses(strange, self._mapping.name)
            self._catalogue = _Catalogue(
                shape=shape,
                tokens={at: _extent(entries) for at, entries in sorted(written.items())},
                networks=tuple(answer["network"].unique().sort()),
                unresolved=() if refused is None else (refused,),
            )
        return self._catalogue

    def _range(self, start: datetime, end: datetime) -> Span | None:
        """The rows to read for a window: to whole days, so that it fits any interval."""
        if not self._look().shape.says_interval:
            return None
        first = max(to_us(start) // _DAY_US * _DAY_US, FIRST_US)
        return Span(first, min(-(-to_us(end) // _DAY_US) * _DAY_US, TIMES_END_US))

    def _read(self, ranges: Mapping[Address, Span | None]) -> ReadRows:
        """The rows of addresses that the table holds, all of them where there is no range."""
        catalogue = self._look()
        wanted = [
            (address, span)
            for at, span in sorted(ranges.items(), key=lambda item: item[0])
            for address in catalogue.tokens[at].written
        ]
        addresses = [address for address, _ in wanted]
        spans = [span for _, span in wanted if span is not None]
        within = len(spans) == len(wanted)
        answer = self._connection.read(
            catalogue.shape.rows_query(within=within),
            catalogue.shape.parameters(addresses, catalogue.networks, spans if within else None),
        )
        return normalised_rows(
            answer,
            addresses,
            catalogue.networks,
            times_are_typed=catalogue.shape.times_are_typed,
            table=self._mapping.name,
        )

    def _batches(self, wanted: Iterable[CandleWindow]) -> Iterator[list[CandleWindow]]:
        """The windows in order, as many together as one query should bring; an address once."""
        batch: list[CandleWindow] = []
        seen: set[Address] = set()
        rows = 0
        for window in wanted:
            at = _at(window.chain, window.address)
            token = self._look().tokens.get(at)
            if batch and (at in seen or rows > BATCH_ROWS or len(batch) >= BATCH_ADDRESSES):
                yield batch
                batch, seen, rows = [], set(), 0
            batch.append(window)
            seen.add(at)
            rows += 0 if token is None else token.rows_in(self._range(window.start, window.end))
        if batch:
            yield batch

    def _all_in_batches(self) -> Iterator[list[Address]]:
        batch: list[Address] = []
        rows = 0
        for at, token in self._look().tokens.items():
            batch.append(at)
            rows += token.rows
            if rows > BATCH_ROWS or len(batch) >= BATCH_ADDRESSES:
                yield batch
                batch, rows = [], 0
        if batch:
            yield batch

    def _find_newest(self) -> datetime | None:
        """Looks at the tokens with the newest rows first, and stops when no other can be newer."""
        tokens = self._look().tokens
        order = sorted(tokens, key=lambda at: (-tokens[at].last_us, at))
        newest: int | None = None
        done = 0
        while done < len(order):
            if newest is not None and newest >= tokens[order[done]].last_us:
                break
            some = order[done : done + _NEWEST_TOKENS]
            newest_of_these = self._newest_of(some, tokens[some[0]].last_us)
            newest = max(filter(None, (newest, newest_of_these)), default=None)
            done += len(some)
        return None if newest is None else from_us(newest)

    def _newest_of(self, addresses: Sequence[Address], last_us: int) -> int | None:
        """The newest candle of some tokens, none of whose rows is later than `last_us`."""
        for back in _LOOK_BACK:
            ranges: dict[Address, Span | None] = dict.fromkeys(addresses)
            if back is not None:
                end = from_us(last_us + 1)
                ranges = dict.fromkeys(addresses, self._range(end - back, end))
            times = self._read(ranges).normalised.candles["ts"].cast(pl.Int64).to_numpy()
            if len(times):
                return int(times.max())
            if None in ranges.values():
                break
        return None


def _at(chain: Chain, address: str) -> Address:
    return chain, fold_address(address)


def _extent(entries: Sequence[tuple[str, int, int, int]]) -> _TokenExtent:
    return _TokenExtent(
        written=tuple(sorted({address for address, *_ in entries})),
        rows=sum(rows for _, rows, _, _ in entries),
        first_us=min(first for *_, first, _ in entries),
        last_us=max(last for *_, last in entries),
    )


def _refused(read: ReadRows, addresses: Iterable[Address]) -> tuple[CandleRejects, ...]:
    return tuple(
        CandleRejects(rows.source, rows.rejected, rows.tokens)
        for at in addresses
        if (rows := read.by_address.get(at)) is not None and rows.rejected.height
    )
