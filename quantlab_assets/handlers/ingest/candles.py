"""Bring candle files into the lab, one after another; a bad one does not hold up the others."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from quantlab_assets.domain.candles.normalise import CandleCounts
from quantlab_assets.domain.tokens.token import Token
from quantlab_assets.ports.candle_intake import (
    CandleReader,
    CandleTarget,
    GivenFile,
    Inserted,
    Placed,
)


@dataclass(frozen=True, slots=True)
class CandleIngestion:
    """What an ingestion came to, or would come to. The candles themselves are let go.

    `counts` and `rejected` (rows by code) are sums over distinct contents; `inserted` is None
    where files go into an inbox.
    """

    files: tuple[tuple[GivenFile, Placed], ...]
    counts: CandleCounts
    rejected: Mapping[str, int]
    tokens: tuple[Token, ...]
    inserted: Inserted | None

    @property
    def unresolvable(self) -> int:
        """Files whose token nobody can tell."""
        return sum(given.unresolvable for given, _ in self.files)

    @property
    def refused(self) -> int:
        """Files that hold no candles for another reason."""
        return sum(given.refused is not None for given, _ in self.files) - self.unresolvable


def ingest_candles(
    reader: CandleReader, target: CandleTarget, progress: Callable[[str], None]
) -> CandleIngestion:
    """Read every file and put it where candles come from. Raises what the two raise."""
    paths = reader.files()
    target.open()
    files: list[tuple[GivenFile, Placed]] = []
    distinct: dict[tuple[str, tuple[Token, ...]], GivenFile] = {}
    for number, path in enumerate(paths, start=1):
        progress(f"reading {path.name} ({number} of {len(paths)})")
        given = reader.read(path)
        placed = target.put(given)
        given = replace(given, candles=None)
        files.append((given, placed))
        distinct.setdefault((given.source.sha256, given.tokens), given)
    progress("putting in the last candles")
    inserted = target.finish()
    each = list(distinct.values())
    rejected: Counter[str] = Counter()
    for given in each:
        rejected.update(given.rejected)
    return CandleIngestion(
        files=tuple(files),
        counts=CandleCounts(
            rows=sum(file.counts.rows for file in each),
            candles=sum(file.counts.candles for file in each),
            duplicates=sum(file.counts.duplicates for file in each),
            conflicts=sum(file.counts.conflicts for file in each),
            rejected=sum(file.counts.rejected for file in each),
        ),
        rejected=dict(sorted(rejected.items())),
        tokens=tuple(
            sorted({t for file in each for t in file.tokens}, key=lambda t: (t.chain, t.key))
        ),
        inserted=inserted,
    )
