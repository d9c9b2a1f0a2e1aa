"""What reproducing an experiment came to: a verdict, and the first thing that differs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Verdict = Literal["IDENTICAL", "DRIFTED", "INPUT-CORRUPT", "INPUT-MISSING", "ENGINE-DIFFERS"]

EXIT_CODES: Final[Mapping[Verdict, int]] = {
    "IDENTICAL": 0,
    "DRIFTED": 1,
    "ENGINE-DIFFERS": 1,
    "INPUT-MISSING": 3,
    "INPUT-CORRUPT": 4,
}


@dataclass(frozen=True, slots=True)
class FirstDifference:
    """Where a recorded part of a result and the reproduced one part ways, in canonical order.

    `row` counts from 0. `column` is None where one of them has no such row any more.
    """

    part: str
    row: int
    column: str | None
    recorded: Any
    reproduced: Any
    recorded_rows: int
    reproduced_rows: int

    def __str__(self) -> str:
        if self.column is None:
            return f"{self.part} has {self.reproduced_rows} rows, not {self.recorded_rows}"
        return (
            f"{self.part}, row {self.row}, column {self.column}: recorded {self.recorded!r},"
            f" reproduced {self.reproduced!r}"
        )


@dataclass(frozen=True, slots=True)
class ReproducedPart:
    """One part of a result: the content hash on record and that of what came out now."""

    part: str
    artifact_id: str
    recorded: str
    reproduced: str

    @property
    def identical(self) -> bool:
        """Whether the same rows came out."""
        return self.recorded == self.reproduced


@dataclass(frozen=True, slots=True)
class Reproduction:
    """The verdict, in words (`message`), and what it rests on.

    `parts` and `difference` are empty where nothing could be computed; where another engine ran,
    they tell what that one makes of the same inputs. `notes` are things worth knowing that do not
    change the verdict.
    """

    experiment_id: str
    verdict: Verdict
    message: str
    parts: tuple[ReproducedPart, ...] = ()
    difference: FirstDifference | None = None
    missing_inputs: tuple[str, ...] = ()
    corrupt_inputs: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def exit_code(self) -> int:
        """0 for IDENTICAL only."""
        return EXIT_CODES[self.verdict]
