"""Which table has the candles, and which of its columns is what."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from quantlab_assets.domain.candles.columns import NAMES
from quantlab_assets.domain.errors import ValidationFailed

VARIABLE: Final = "QUANTLAB_CLICKHOUSE_MAPPING"
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_KEYS: Final = frozenset({"database", "table", "final", "volume_unit", "columns"})


@dataclass(frozen=True, slots=True)
class TableMapping:
    """A table of candles. `database` None is the DSN's. Roles that `columns` leaves out are told by
    the names of the table's columns, as in files. `final` None: where the engine needs it.
    `volume_unit` is `token`, or None for US dollars.
    """

    table: str = "candles"
    database: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    final: bool | None = None
    volume_unit: str | None = None

    @property
    def name(self) -> str:
        """The table as people write it."""
        return f"{self.database}.{self.table}" if self.database else self.table

    @property
    def quoted(self) -> str:
        """The table as SQL writes it; its parts are identifiers."""
        return ".".join(quoted(part) for part in (self.database, self.table) if part)


def quoted(identifier: str) -> str:
    """An identifier in SQL. Raises `ValidationFailed` for anything but letters, digits and `_`."""
    if not _IDENTIFIER.fullmatch(identifier):
        raise ValidationFailed(
            f"ClickHouse: {identifier[:80]!r} is no name of a table or column that can be used; a"
            " view may give it one of letters, digits and _"
        )
    return f"`{identifier}`"


def read_mapping(path: Path | None) -> TableMapping:
    """The mapping of a TOML file; the default one without a file.

    Raises `ValidationFailed` naming the file and what is wrong in it.
    """
    if path is None:
        return TableMapping()
    try:
        document = tomllib.loads(path.read_text("utf-8"))
        return _mapping(document)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValidationFailed(f"{VARIABLE}: cannot read {path}: {error}") from error
    except ValidationFailed as error:
        raise ValidationFailed(f"{VARIABLE}: {path}: {error}") from error


def _mapping(document: Mapping[str, Any]) -> TableMapping:
    unknown = sorted(document.keys() - _KEYS)
    if unknown:
        raise ValidationFailed(f"{unknown[0]!r} is not known; known are {', '.join(sorted(_KEYS))}")
    columns = document.get("columns", {})
    if not isinstance(columns, dict):
        raise ValidationFailed("columns must be a table of role = column")
    strange = sorted(columns.keys() - NAMES.keys())
    if strange:
        raise ValidationFailed(
            f"columns: {strange[0]!r} is no role; roles are {', '.join(sorted(NAMES))}"
        )
    for name in columns.values():
        quoted(_text("columns", name))
    database, _, table = _text("table", document.get("table", "candles")).rpartition(".")
    database = _text("database", document.get("database", database))
    for name in filter(None, (database, table or " ")):
        quoted(name)
    final = document.get("final", "auto")
    if final not in ("auto", True, False):
        raise ValidationFailed(f'final is true, false or "auto", not {final!r}')
    unit = document.get("volume_unit", "usd")
    if unit not in ("usd", "token"):
        raise ValidationFailed(f'volume_unit is "usd" or "token", not {unit!r}')
    return TableMapping(
        table=table,
        database=database or None,
        columns=dict(columns),
        final=None if final == "auto" else final,
        volume_unit=None if unit == "usd" else unit,
    )


def _text(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValidationFailed(f"{key} must be text, not {value!r}")
    return value
