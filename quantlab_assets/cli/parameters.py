"""What several commands take on their command line: text, tags, moments, counts."""

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

_DAY: Final = len("2025-11-07")


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
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(
                f"{shortened(value)} is no time: write 2025-11-07 or 2025-11-07T12:30:00Z",
                param,
                ctx,
            )
        if len(value) == _DAY:
            last = time.max if self._end else time.min
            return datetime.combine(moment.date(), last, UTC)
        if moment.tzinfo is None:
            self.fail(f"{value!r} has no time zone: append Z for UTC", param, ctx)
        try:
            return moment.astimezone(UTC)
        except OverflowError:
            self.fail(f"{value!r} is outside the years 1 to 9999", param, ctx)


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
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 7) or (
            unit not in self._units
        ):
            self.fail(f"{shortened(value)} is no span of time: write 30m, 24h or 90d", param, ctx)
        return timedelta(**{self._units[unit]: int(digits)})


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
