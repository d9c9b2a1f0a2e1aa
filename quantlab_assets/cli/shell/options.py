"""What several commands take on their command line: days, moments, tags, ids, how many rows.

Options of one command stand with it, and `--format` with what it decides, in `output`.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, TypeVar

import click

from quantlab_assets.domain.errors import ValidationFailed

Command = TypeVar("Command", bound=Callable[..., Any])

_DAY: Final = len("2025-11-07")
_LONGEST: Final = timedelta(days=36_500)


class TextType(click.ParamType):  # type: ignore[type-arg]
    """Text that can be stored and asked for: what is not UTF-8, or has a NUL, is wrong usage."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text itself."""
        text = str(value)
        try:
            text.encode()
        except UnicodeEncodeError:
            self.fail(f"{shortened(text)} is not UTF-8 text", param, ctx)
        if "\0" in text:
            self.fail(f"{shortened(text)} has a NUL in it", param, ctx)
        return text


TEXT: Final = TextType()


class TagType(TextType):
    """`name=value`; only the first `=` divides."""

    name = "name=value"

    def convert(  # type: ignore[override]
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """The name and the value."""
        if isinstance(value, tuple):
            return value
        tag, divided, text = super().convert(value, param, ctx).partition("=")
        if not divided or not tag:
            self.fail(f"{shortened(value)} is no tag: write name=value", param, ctx)
        return tag, text


def parse_moment(text: str, *, end: bool = False) -> datetime:
    """A UTC day, or a time with its zone, as a time in UTC. As an end, a day means all of it.

    Raises `ValueError` saying what is wrong.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(
            f"{shortened(text)} is no time: write 2025-11-07 or 2025-11-07T12:30:00Z"
        ) from error
    if len(text) <= _DAY:
        return datetime.combine(moment.date(), time.max if end else time.min, UTC)
    if moment.tzinfo is None:
        raise ValueError(f"{shortened(text)} has no time zone: append Z for UTC")
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{shortened(text)} is outside the years 1 to 9999") from error


class MomentType(click.ParamType):  # type: ignore[type-arg]
    """A UTC day, or a time with its zone. As an end, a day means all of that day."""

    name = "moment"

    def __init__(self, *, end: bool = False) -> None:
        self._end = end

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """The time in UTC."""
        if isinstance(value, datetime):
            return value
        try:
            return parse_moment(value, end=self._end)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class DurationType(click.ParamType):  # type: ignore[type-arg]
    """A span of time: a number and one of s, m, h, d."""

    name = "duration"
    _units: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """The span."""
        if isinstance(value, timedelta):
            return value
        digits, unit = value[:-1], value[-1:]
        counted = digits.isascii() and digits.isdigit() and len(digits) <= 9
        span = (
            timedelta(**{self._units[unit]: int(digits)})
            if counted and unit in self._units
            else None
        )
        if span is None or span > _LONGEST:
            self.fail(f"{shortened(value)} is no span of time: write 30m, 24h or 90d", param, ctx)
        return span


limit_option: Final = click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="At most so many rows (default: all)."
)
"""How many rows; given as `limit: int | None`."""


def id_argument(name: str) -> Callable[[Command], Command]:
    """Add the argument `ID`; given to the command as the text `name`."""
    return click.argument(name, metavar="ID", type=TEXT)


def day_range_options(what: str) -> Callable[[Command], Command]:
    """Add `--from` and `--to`, given as `first: date | None` and `last: date | None`."""

    def decorate(command: Command) -> Command:
        for flag, name, which in (("--to", "last", "last"), ("--from", "first", "first")):
            command = click.option(
                flag,
                name,
                type=click.DateTime(["%Y-%m-%d"]),
                metavar="D",
                callback=_as_date,
                help=f"The {which} UTC day {what}, e.g. 2025-11-07.",
            )(command)
        return command

    return decorate


def check_range(first: date | None, last: date | None) -> None:
    """Refuse a range that ends before it begins."""
    if first is not None and last is not None and last < first:
        raise ValidationFailed(f"--to {last} is before --from {first}")


def _as_date(_ctx: click.Context, _param: click.Parameter, value: datetime | None) -> date | None:
    return None if value is None else value.date()


def tag_option(what: str) -> Callable[[Command], Command]:
    """Add `--tag name=value`, which may be repeated; given to the command as the dict `tags`."""
    return click.option(
        "--tag",
        "tags",
        type=TagType(),
        multiple=True,
        metavar="NAME=VALUE",
        callback=_as_mapping,
        help=f"{what} Repeat it for several.",
    )


def _as_mapping(
    _ctx: click.Context, _param: click.Parameter, tags: tuple[tuple[str, str], ...]
) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in tags:
        if given.setdefault(name, value) != value:
            raise click.BadParameter(f"tag {shortened(name)} is given two values")
    return given


def shortened(text: object) -> str:
    """What was typed, quoted, and cut if it is long."""
    shown = str(text)
    return repr(shown if len(shown) <= 80 else f"{shown[:77]}...")
