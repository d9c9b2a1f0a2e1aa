"""`quantlab alerts`: the calls that the lake holds."""

from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from quantlab_assets.cli.session import Session, pass_session
from quantlab_assets.cli.shell.command import quantlab_command
from quantlab_assets.cli.shell.options import check_range, day_range_options, limit_option
from quantlab_assets.cli.shell.output import (
    Column,
    Format,
    format_option,
    plural,
    say,
    write_records,
)

if TYPE_CHECKING:
    import polars as pl

_EVER: Final = (datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))
_SHOWN: Final = ("alert_ts_utc", "known_ts_utc", "caller_name", "network", "mint", "mint_source")


@quantlab_command(
    "list",
    examples="""
    quantlab alerts list
    quantlab alerts list --from 2025-11-01 --to 2025-11-07 --chain solana --limit 20
    quantlab alerts list --mint 0x6d665078d54abba0b328ecceb8d6d07a741cfbe --format jsonl
    """,
)
@day_range_options("to list")
@click.option("--caller", metavar="X", help="Only calls of this caller, by name.")
@click.option("--mint", metavar="M", help="Only calls of this token, by its whole address.")
@click.option("--chain", metavar="C", help="Only calls on a chain family or network, e.g. bsc.")
@limit_option
@format_option
@pass_session
def list_alerts(
    session: Session,
    first: date | None,
    last: date | None,
    caller: str | None,
    mint: str | None,
    chain: str | None,
    limit: int | None,
    output_format: Format,
) -> None:
    """List alerts by time: all that match, unless a limit is given."""
    check_range(first, last)
    alerts = _matching(session, first, last, caller, mint, chain)
    shown = alerts if limit is None else alerts.head(limit)
    if shown.height < alerts.height:
        say(f"{shown.height:,} of {plural(alerts.height, 'alert')}; raise --limit to see more")
    if output_format is not Format.TABLE:
        write_records(shown.to_dicts(), [Column(name) for name in alerts.columns], output_format)
        return
    if alerts.is_empty():
        say("no alerts match")
    rows = [
        {**row, "network": row["token_chain"] or row["chain"]}
        for row in shown.iter_rows(named=True)
    ]
    write_records(rows, [Column(name) for name in _SHOWN], output_format)


def _matching(
    session: Session,
    first: date | None,
    last: date | None,
    caller: str | None,
    mint: str | None,
    chain: str | None,
) -> "pl.DataFrame":
    import polars as pl

    from quantlab_assets.domain.telegram.senders import caller_name_norm
    from quantlab_assets.domain.tokens.token import fold_address

    start = _EVER[0] if first is None else _midnight(first)
    end = _EVER[1] if last is None else _midnight(last + timedelta(days=1))
    name = None if caller is None else caller_name_norm(caller)
    conditions: list[Any] = []
    if mint is not None:
        conditions.append(pl.col("mint") == fold_address(mint))
    if chain is not None:
        conditions.append((pl.col("chain") == chain) | (pl.col("token_chain") == chain))
    frame = session.open_lake().alerts(start, end, name)
    return frame.filter(*conditions).collect() if conditions else frame.collect()


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
