"""Addresses that were cut in pieces: by an invisible character, a line break or a space.

Pieces are joined if together they are an address and none of them is one; if together they only
look like one, that is told. Whole addresses are `addresses`.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

import polars as pl

from quantlab_assets.domain.telegram.addresses import JUDGEMENTS, Judgement, judge

_INVISIBLE: Final = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064"
    "\u2066-\u206f\ufe00-\ufe0f\ufeff"
)
"""Zero-width spaces and joiners, soft hyphens, marks of direction, variation selectors."""
_GAP: Final = rf"(?:[ \u00a0\t]{{0,3}}\r?\n[ \u00a0\t]{{0,3}}|[ \u00a0]|[{_INVISIBLE}]+)"
_RUN: Final = (
    rf"[0-9A-Za-z]+(?:[{_INVISIBLE}]+[0-9A-Za-z]+)+"
    rf"|0[xX][0-9a-fA-F]+(?:{_GAP}[0-9a-fA-F]+(?-u:\b))+"
    rf"|[0-9A-Za-z]{{8,}}(?:{_GAP}[0-9A-Za-z]{{8,}})+"
)
_SPLIT: Final = re.compile(rf"({_GAP})")
_IS_INVISIBLE: Final = re.compile(rf"[{_INVISIBLE}]+")
_FRAGMENT: Final = re.compile(r"[0-9]|[a-z][A-Z]")
_MOST_PIECES: Final = 6
_LONG_ALONE: Final = 32
_LONGEST: Final = 66
"""Of what is joined: an address with digits too many is still told, a signature is noise."""

CUT: Final = pl.Schema([("run", pl.String), ("pieces", pl.List(pl.String)), *JUDGEMENTS.items()])


def runs_in(text: pl.Expr) -> pl.Expr:
    """Where a text may hold a cut address, as a list of runs of pieces."""
    runs = text.str.extract_all(_RUN)
    worth = pl.element().str.contains("[0-9]") & (pl.element().str.len_chars() >= 27)
    return runs.list.eval(pl.element().filter(worth))


def join_all(runs: Iterable[str]) -> pl.DataFrame:
    """Rows of `CUT` for the distinct runs that hold a cut address, or what looks like one; `raw` is
    the pieces put together."""
    found = [(run, *cut) for run in sorted(set(runs)) for cut in _joined(run)]
    return pl.DataFrame(
        [
            (run, pieces, "".join(pieces), of.chain, of.address, of.error_code, of.reason)
            for run, pieces, of in found
        ],
        schema=CUT,
        orient="row",
    )


def _joined(run: str) -> Iterator[tuple[list[str], Judgement]]:
    """The windows of a run's pieces that are addresses, else the one that looks most like one."""
    parts = _SPLIT.split(run)
    words, gaps = parts[::2], parts[1::2]
    refused: list[tuple[list[str], Judgement]] = []
    start = 0
    while start < len(words):
        for end in range(start + 2, min(len(words), start + _MOST_PIECES) + 1):
            pieces, between = words[start:end], gaps[start : end - 1]
            if len("".join(pieces)) > _LONGEST or not _belong_together(pieces, between):
                break
            of = judge("".join(pieces))
            if of.address is not None:
                yield pieces, of
                start = end - 1
                refused.clear()
                break
            if of.error_code is not None and not any(map(_told_alone, pieces)):
                refused.append((pieces, of))
        start += 1
    if refused:
        pieces, of = max(refused, key=lambda cut: len("".join(cut[0])))
        shown = " | ".join(pieces)
        yield (
            pieces,
            Judgement(error_code=of.error_code, reason=f"{shown}: cut in pieces; {of.reason}"),
        )


def _belong_together(pieces: list[str], gaps: list[str]) -> bool:
    """Whether pieces can be one address: none is one itself and, unless what is between them cannot
    be seen, each looks like a part of one, which words do not."""
    if any(judge(piece).address is not None for piece in pieces):
        return False
    return all(_IS_INVISIBLE.fullmatch(gap) for gap in gaps) or all(map(_FRAGMENT.search, pieces))


def _told_alone(piece: str) -> bool:
    """Whether a piece is long enough to be found, and refused, without the others."""
    return len(piece) >= _LONG_ALONE and judge(piece).error_code is not None
