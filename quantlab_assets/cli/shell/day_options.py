"""Options that several commands share: days, and how many rows."""

from collections.abc import Callable
from datetime import date, datetime
from typing import Any

import click

from quantlab_assets.domain.errors import ValidationFailed


def day_range_options(what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add `--from` and `--to`, given as `first: date | None` and `last: date | None`."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
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


limit_option = click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="At most so many rows (default: all)."
)


def check_range(first: date | None, last: date | None) -> None:
    """Refuse a range that ends before it begins."""
    if first is not None and last is not None and last < first:
        raise ValidationFailed(f"--to {last} is before --from {first}")


def _as_date(_ctx: click.Context, _param: click.Parameter, value: datetime | None) -> date | None:
    return None if value is None else value.date()
