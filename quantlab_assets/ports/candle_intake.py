"""The way of candle files into the lab: what reads them, and where they go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

import polars as pl

from quantlab_assets.domain.artifacts.records import SourceFile
from quantlab_assets.domain.candles.normalise import CandleCounts
from quantlab_assets.domain.tokens.token import Token

UNRESOLVABLE: Final = "unresolvable_token"


@dataclass(frozen=True, slots=True)
class GivenFile:
    """A file that was read on its way in. `refused` is (code, reason) of one refused as a whole;
    `rejected` counts refused rows by code; `candles` are `CANDLE_COLUMNS`, None if refused."""

    path: Path
    source: SourceFile
    counts: CandleCounts
    tokens: tuple[Token, ...]
    rejected: Mapping[str, int]
    refused: tuple[str, str] | None
    candles: pl.DataFrame | None

    @property
    def unresolvable(self) -> bool:
        """Whether only its token is unknown: somebody may name it later."""
        return self.refused is not None and self.refused[0] == UNRESOLVABLE


@dataclass(frozen=True, slots=True)
class Placed:
    """What became of a file: put in, there already, or left out; its name in the inbox."""

    state: Literal["new", "held", "left_out"]
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Inserted:
    """Candles that were new to a table, and those that it had exactly so."""

    new: int = 0
    there: int = 0


class CandleReader(Protocol):
    """The files somebody gives."""

    def files(self) -> Sequence[Path]:
        """The candle files, each once. Raises `NotFound`, `ValidationFailed`."""

    def read(self, path: Path) -> GivenFile:
        """One of them, by the rules of the inbox. Raises `StoreUnavailable`."""


class CandleTarget(Protocol):
    """Where candle files go."""

    def open(self) -> None:
        """Get ready; says what is in the way before anything is put in."""

    def put(self, given: GivenFile) -> Placed:
        """Put a file in. What is there already stays as it is."""

    def finish(self) -> Inserted | None:
        """Put in what still waits; the candles that came to a table, None if it is none."""
