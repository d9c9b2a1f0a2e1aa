"""Where the statements of a script begin and end, by DuckDB's rules for text, names and comments.

Only that: what a statement does, and whether it may be run, `query` asks DuckDB itself.
DuckDB's own `extract_statements` keeps other things around a statement in each version (the `;`, or
the comment before it), and versions before 2 give no text at all for a PIVOT.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

_TOKEN: Final = re.compile(
    r"""
      (?P<blank> \s+ | --[^\n]* )
    | (?P<comment> /\* )
    | (?P<quoted> [eE]'(?:[^'\\]|''|\\.)*' | '(?:[^']|'')*' | "(?:[^"]|"")*"
                | \$((?:[^\W\d]\w*)?)\$.*?\$\4\$ )
    | (?P<open> [eE]?' | " | \$(?:[^\W\d]\w*)?\$ )
    | (?P<end> ; )
    | (?P<code> \w[\w$]* | . )
    """,
    re.DOTALL | re.VERBOSE,
)
_COMMENT_EDGE: Final = re.compile(r"/\*|\*/")

_Kind = Literal["blank", "code", "open", "end"]


@dataclass(frozen=True, slots=True)
class _Token:
    """A stretch of a script: space or a comment, code, what is opened and not closed, or a `;`."""

    kind: _Kind
    start: int
    stop: int


def split(script: str) -> tuple[str, ...]:
    """The statements, each without its `;` and without space and comments around it.

    `"-- calls\\nSELECT ';'; ; SELECT 2"` is `("SELECT ';'", "SELECT 2")`.
    """
    statements: list[str] = []
    start = stop = None
    for token in (*_tokens(script), _Token("end", len(script), len(script))):
        if token.kind == "blank":
            continue
        if token.kind != "end":
            start, stop = token.start if start is None else start, token.stop
        elif start is not None:
            statements.append(script[start:stop])
            start = None
    return tuple(statements)


def is_complete(script: str) -> bool:
    """Whether the last statement ends here: with a `;` that is in no text, name or comment."""
    last: _Kind = "code"
    for token in _tokens(script):
        if token.kind == "open":
            return False
        if token.kind != "blank":
            last = token.kind
    return last == "end"


def without_comments(statement: str) -> str:
    """A statement with a space for each comment and each stretch of space."""
    return "".join(
        " " if token.kind == "blank" else statement[token.start : token.stop]
        for token in _tokens(statement)
    )


def _tokens(script: str) -> Iterator[_Token]:
    place = 0
    while place < len(script):
        match = _TOKEN.match(script, place)
        assert match is not None  # The last alternative is any character.
        stop = match.end()
        kind: _Kind = "code"
        if match["comment"]:
            end = _end_of_comment(script, stop)
            kind, stop = ("open", len(script)) if end is None else ("blank", end)
        elif match["open"]:
            # Nothing after it can be told apart: it may all be text.
            kind, stop = "open", len(script)
        elif match["blank"]:
            kind = "blank"
        elif match["end"]:
            kind = "end"
        yield _Token(kind, place, stop)
        place = stop


def _end_of_comment(script: str, start: int) -> int | None:
    """Where a comment that was opened before `start` ends; DuckDB's comments nest."""
    depth = 1
    for edge in _COMMENT_EDGE.finditer(script, start):
        depth += 1 if edge[0] == "/*" else -1
        if not depth:
            return edge.end()
    return None
