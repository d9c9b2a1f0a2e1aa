"""What declares a type of artifact: its schema, its canonical order, the keys it may have, and how
rows of its earlier schema versions become rows of the newest.

The types that every lake knows are in `seed_types`, value rules in `value_rules`; what applies an
upgrade to rows is in `upgrade`. Loads no Arrow by itself: commands that only look at the manifest
import this too.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.tokens.token import CHAINS

if TYPE_CHECKING:
    import polars as pl
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
    "chain": "|".join(CHAINS),
    "chat": r"-?\d{1,19}",
    "bucket": r"[0-9a-f]",
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
class Upgrade:
    """How rows of the `earlier` schema version become rows of the version that declares this.

    A column is taken over under its name, unless it is `renamed` (old name to new) or `dropped`.
    One that is new, or whose Arrow type or nullability is another, is in `columns`: null (None), or
    a Polars expression over the earlier columns, or what gives one once it is needed, so that
    declaring it loads no Polars. An expression looks at its own row only, and a row stays one row.

    `new_key` gives the key under which the data of an earlier key is by now, from the earlier key's
    fields; without it, data stays under its key if the newer version has keys of that form.
    """

    earlier: "ArtifactType"
    columns: "Mapping[str, pl.Expr | Callable[[], pl.Expr] | None]" = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    new_key: Callable[[Mapping[str, str]], str] | None = None


@dataclass(frozen=True, slots=True)
class ArtifactType:
    """The contract of one type of artifact in one schema version.

    `key_fields` are the patterns of key fields of its own, beside those that all types share.
    `upgrade` leads from the version before, if there is one: versions are a chain, the newest
    first.
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
    upgrade: Upgrade | None = field(default=None, compare=False, repr=False)
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
        if self.upgrade is not None:
            _check_upgrade(self, self.upgrade)

    @property
    def versions(self) -> "tuple[ArtifactType, ...]":
        """This version and every earlier one, newest first."""
        earlier = () if self.upgrade is None else self.upgrade.earlier.versions
        return (self, *earlier)

    def version(self, schema_version: int) -> "ArtifactType":
        """The type as it was in a schema version. Raises `ValidationFailed` naming those known."""
        for declared in self.versions:
            if declared.schema_version == schema_version:
                return declared
        known = ", ".join(str(declared.schema_version) for declared in reversed(self.versions))
        raise ValidationFailed(
            f"{self.name}: schema version {schema_version} is not known, only {known}"
        )

    @property
    def order(self) -> tuple[str, ...]:
        """The columns by which rows are ordered: the sort keys, then all others."""
        rest = (name for name in self.schema.names if name not in self.sort_keys)
        return (*self.sort_keys, *rest)

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

    def parse_key_of_any_version(self, key: str) -> dict[str, str]:
        """The fields of a key of this version or of an earlier one. Raises `ValidationFailed`."""
        for declared in self.versions[1:]:
            if any(template.pattern.fullmatch(key) for template in declared.templates):
                return declared.parse_key(key)
        return self.parse_key(key)

    def key_from(self, schema_version: int, key: str) -> str | None:
        """The key under which the data of a key of an earlier version is in this one.

        None if nothing says so. Raises `ValidationFailed` for a key that the earlier version does
        not have.
        """
        if schema_version == self.schema_version:
            self.parse_key(key)
            return key
        self.version(schema_version)
        assert self.upgrade is not None
        before = self.upgrade.earlier.key_from(schema_version, key)
        if before is None:
            return None
        if self.upgrade.new_key is not None:
            after = self.upgrade.new_key(self.upgrade.earlier.parse_key(before))
            self.parse_key(after)
            return after
        stays = any(template.pattern.fullmatch(before) for template in self.templates)
        return before if stays else None

    def fields_from(self, schema_version: int, key: str) -> dict[str, str]:
        """The fields of the key that data of a key of an earlier version has in this one; where
        nothing says which key that is, those of the earlier one."""
        newer = self.key_from(schema_version, key)
        if newer is None:
            return self.version(schema_version).parse_key(key)
        return self.parse_key(newer)

    def empty(self) -> "pa.Table":
        """A table of this type without rows."""
        import pyarrow as pa

        # Not `schema.empty_table()`, which imports pandas where there is one.
        return pa.Table.from_batches([], schema=self.schema)


def _check_upgrade(newer: ArtifactType, upgrade: Upgrade) -> None:
    """Raise `ValidationFailed` unless every column of both versions is accounted for."""
    earlier = upgrade.earlier
    what = f"artifact type {newer.name} {newer.schema_version}"
    if earlier.name != newer.name or earlier.schema_version >= newer.schema_version:
        raise ValidationFailed(
            f"{what}: its upgrade leads from {earlier.name} {earlier.schema_version}; give an"
            " earlier version of the same type"
        )
    if earlier.keeps_many != newer.keeps_many:
        raise ValidationFailed(f"{what}: a type keeps many in all its versions or in none")
    unknown = sorted({*upgrade.renamed, *upgrade.dropped} - set(earlier.schema.names))
    if unknown:
        raise ValidationFailed(
            f"{what}: version {earlier.schema_version} has no column {', '.join(unknown)} to rename"
            " or to drop"
        )
    made = {*upgrade.columns, *upgrade.renamed.values()}
    unknown = sorted(made - set(newer.schema.names))
    if unknown:
        raise ValidationFailed(f"{what}: its upgrade makes unknown columns {', '.join(unknown)}")
    taken = {
        upgrade.renamed.get(name, name): earlier.schema.field(name)
        for name in earlier.schema.names
        if name not in upgrade.dropped
    }
    lost = sorted(set(taken) - set(newer.schema.names))
    if lost:
        raise ValidationFailed(
            f"{what} has no column {', '.join(lost)} of version {earlier.schema_version}: say that"
            " it is renamed or dropped"
        )
    for column in newer.schema:
        if column.name in upgrade.columns:
            if upgrade.columns[column.name] is None and not column.nullable:
                raise ValidationFailed(f"{what}: column {column.name} cannot be null; give a rule")
        elif column.name not in taken:
            raise ValidationFailed(
                f"{what}: column {column.name} is new; say in the upgrade's columns what it is in"
                " rows of earlier versions, or None for null"
            )
        elif not _holds(column, taken[column.name]):
            raise ValidationFailed(
                f"{what}: column {column.name} is of another type than in version"
                f" {earlier.schema_version}; give a rule in the upgrade's columns"
            )


def _holds(column: "pa.Field", earlier: "pa.Field") -> bool:
    """Whether every value of the earlier column is one of the column."""
    return column.type == earlier.type and (column.nullable or not earlier.nullable)
