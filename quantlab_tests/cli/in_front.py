"""The command as a user meets it, in this process: words in, exit code and two streams out."""

import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from quantlab_assets.cli.main import main


@dataclass(frozen=True)
class Done:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """What it printed, as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True)
class Shell:
    """A shell in front of one lake."""

    lake: Path
    read: Callable[[], Any]
    monkeypatch: pytest.MonkeyPatch

    def __call__(self, *words: str, stdin: bytes = b"", lake: Path | None = None) -> Done:
        """Run `quantlab` with these words."""
        self.monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        self.read()
        code = main(["--lake", str(lake or self.lake), *words])
        out, err = self.read()
        return Done(code, out, err)

    def refuses(self, *words: str, code: int, says: str, lake: Path | None = None) -> Done:
        """Run `quantlab` with these words, which must fail, so and for this reason."""
        done = self(*words, lake=lake)
        assert (done.code, says in done.err) == (code, True), done
        return done

    def publish(self, day: int, *rows: str, book: str = "lab", more: tuple[str, ...] = ()) -> str:
        """Publish notes of a day of May 2025 from a CSV of these rows; gives the artifact's id."""
        data = self.lake.parent / "notes.csv"
        data.write_text("at,text,score,count,seen,mark\n" + "".join(f"{row}\n" for row in rows))
        done = self(
            *("artifacts", "publish", "--type", "notes", "--version", "3"),
            *("--key", f"book={book}/day=2025-05-{day:02d}", "--data", str(data)),
            *("--format", "json", *more),
        )
        assert done.code == 0, done.err
        return str(done.json["artifactId"])
