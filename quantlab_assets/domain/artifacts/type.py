"""What declares a type of artifact: its schema, its canonical order and the keys it may have.

The types that every lake knows are in `seed_types`, value rules in `value_rules`. Loads no Arrow by
itself: commands that only look at the manifest import this too.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from quantlab_assets.domain.errors import ValidationFailed

if TYPE_CHECKING:
    import pyarrow as pa

INTERVALS: Mapping[str, int] = {
    "1s": 1,
    "1m": 60,
    "5m": 300,
    "15m": 900,
    "1h": 3600,
    "4h": 14400,
    "1d": 86400,
}
"""Candle intervals by the name they have in keys, in seconds."""

_FIELDS: Mapping[str, str] = {
    "day": r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])",
    "chain": r"solana|evm",
    "chat": r"-?\d{1,19}",
    "source": r"[0-9a-f]{16}",
    "token": r"(?:[a-z0-9_-]{1,32}:)?(?:0x[0-9a-f]{40}|[1-9A-HJ-NP-Za-km-z]{32,44})",
    "res": "|".join(INTERVALS),
    "from": r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?Z",
    "to": r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?Z",
    "experiment": r"exp-[0-9a-f]{16}",
    "strategy": r"[a-z0-9][a-z0-9_.-]{0,99}",
}


@dataclass(frozen=True, slots=True)
class KeyTemplate:
    """One form of logical key, e.g. `day={day}/chain={chain}`; each field has a fixed pattern.

    `own` has the patterns of fields that only one type's keys have.
    """

    text: str
    own: Mapping[str, str] = field(default_factory=dict)

    @property
    def pattern(self) -> re.Pattern[str]:
        """What a key of this form matches, each field a group."""
        parts = re.split(r"\{(\w+)\}", self.text)
        patterns = {**_FIELDS, **self.own}
        return re.compile(
            "".join(
                re.escape(part) if i % 2 == 0 else f"(?P<{part}>{patterns[part]})"
                for i, part in enumerate(parts)
            ),
            re.ASCII,
        )

    @property
    def fields(self) -> frozenset[str]:
        """The names of the fields."""
        return frozenset(re.findall(r"\{(\w+)\}", self.text))


@dataclass(frozen=True, slots=True)
class ArtifactType:
    """The contract of one type of artifact.

    `key_fields` are the patterns of key fields of its own, beside those that all types share.
    """

    name: str
    schema_version: int
    schema: "pa.Schema"
    sort_keys: tuple[str, ...]
    keys: tuple[str, ...]
    time_column: str | None = None
    keeps_many: bool = False
    dictionary_columns: tuple[str, ...] = ()
    description: str = ""
    key_fields: Mapping[str, str] = field(default_factory=dict)
    templates: tuple[KeyTemplate, ...] = field(init=False)

    def __post_init__(self) -> None:
        templates = tuple(KeyTemplate(text, self.key_fields) for text in self.keys)
        object.__setattr__(self, "templates", templates)
        for template in templates:
            try:
                _ = template.pattern
            except KeyError as error:
                raise ValidationFailed(
                    f"artifact type {self.name}: key {template.text!r} has the unknown field"
                    f" {error.args[0]!r}; give its pattern in key_fields"
                ) from error
            except re.error as error:
                raise ValidationFailed(
                    f"artifact type {self.name}: key {template.text!r}: {error}"
                ) from error
        named = (*self.sort_keys, *self.dictionary_columns)
        missing = [column for column in named if column not in self.schema.names]
        if missing:
            raise ValidationFailed(f"artifact type {self.name}: unknown columns {missing}")

    def key(self, **fields: str) -> str:
        """The logical key with these fields, e.g. `key(day="2025-11-07", chain="evm")`."""
        for template in self.templates:
            if template.fields == set(fields):
                key = template.text.format(**fields)
                self.parse_key(key)
                return key
        raise ValidationFailed(
            f"{self.name}: no key has the fields {sorted(fields)};"
            f" known forms: {', '.join(self.keys)}"
        )

    def parse_key(self, key: str) -> dict[str, str]:
        """The fields of a logical key. Raises `ValidationFailed` naming the forms allowed."""
        for template in self.templates:
            match = template.pattern.fullmatch(key)
            if match:
                return match.groupdict()
        shown = key if len(key) <= 120 else f"{key[:117]}..."
        raise ValidationFailed(
            f"{self.name}: logical key {shown!r} does not match {' or '.join(self.keys)}"
        )

    def empty(self) -> "pa.Table":
        """A table of this type without rows."""
        return self.schema.empty_table()
