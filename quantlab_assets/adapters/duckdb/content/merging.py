"""Marks the candles that count where slices and intervals of a token overlap.

The rule is that of the simulation (docs/simulation.md, "Which candle counts"): of several candles
with one interval and ts, the one with the largest (volume, open, high, low, close) counts, no
volume being less than any; then every candle that a finer one overlaps is dropped. An address is
another token on each network, and what is of no known network another still: which of them a call
takes is decided later (`domain/tokens/networks.py`).

Names in its SQL are constants of this package, or come quoted from `identifiers`: hence S608.
"""

from collections.abc import Collection
from typing import Final

import duckdb
import pyarrow as pa

from quantlab_assets.adapters.duckdb.connections import run
from quantlab_assets.adapters.duckdb.content.research_sql import COUNTS, STORED_CANDLES

_UNSETTLED: Final = f"""
    CREATE TEMP TABLE unsettled AS
    SELECT token_address FROM (
        SELECT token_address,
               token_address IS NOT DISTINCT FROM lag(token_address) OVER ()
               AND chain IS NOT DISTINCT FROM lag(chain) OVER ()
               AND token_chain IS NOT DISTINCT FROM lag(token_chain) OVER ()
               AND interval_s IS NOT DISTINCT FROM lag(interval_s) OVER ()
               AND ts > lag(ts) OVER () AS goes_on
        FROM {STORED_CANDLES} {{restriction}}
    )
    WHERE goes_on IS NOT TRUE GROUP BY token_address HAVING count(*) > 1
"""  # noqa: S608
"""Tokens whose rows are more than one stretch of one interval and ascending times. Of all others
every candle counts; that is most of them, and no candle of theirs is compared with another."""

_TOUCHED: Final = "WHERE token_address IN (SELECT token_address FROM touched)"

_CANDIDATES: Final = f"""
    CREATE TEMP TABLE candidates AS
    SELECT rowid AS id, * EXCLUDE ({COUNTS}),
           CASE WHEN token_chain <> chain THEN token_chain ELSE '' END AS route
    FROM {STORED_CANDLES} WHERE token_address IN (SELECT token_address FROM unsettled)
    QUALIFY row_number() OVER (
        PARTITION BY chain, token_address, route, interval_s, ts
        ORDER BY CASE WHEN isnan(volume) THEN NULL ELSE volume END DESC NULLS LAST,
                 open DESC, high DESC, low DESC, close DESC, id
    ) = 1
"""  # noqa: S608

# Of the candles of one interval, the candle that begins last before an end also ends last: if that
# candle does not reach into a coarser one, no candle of its interval does.
_WINNERS: Final = """
    CREATE TEMP TABLE winners AS
    WITH finer AS (
        SELECT c.id, c.chain, c.token_address, c.route, c.ts,
               c.ts + to_seconds(c.interval_s) AS stop, i.interval_s
        FROM candidates c
        JOIN (SELECT DISTINCT chain, token_address, route, interval_s FROM candidates) i
          ON i.chain = c.chain AND i.token_address = c.token_address AND i.route = c.route
         AND i.interval_s < c.interval_s
    ),
    dropped AS (
        SELECT DISTINCT f.id
        FROM finer f ASOF JOIN candidates c
          ON c.chain = f.chain AND c.token_address = f.token_address AND c.route = f.route
         AND c.interval_s = f.interval_s AND c.ts < f.stop
        WHERE c.ts + to_seconds(c.interval_s) > f.ts
    )
    SELECT id FROM candidates WHERE id NOT IN (SELECT id FROM dropped)
"""


def mark_candles_that_count(
    connection: duckdb.DuckDBPyConnection, tokens: Collection[str] | None = None
) -> None:
    """Set the flag of the stored candles: of all tokens, or of those whose rows have changed."""
    if tokens is None:
        run(connection, _UNSETTLED.format(restriction=""))
        run(connection, "CREATE TEMP TABLE touched AS FROM unsettled")
    else:
        connection.register("quantlab_tokens", pa.table({"token_address": sorted(tokens)}))
        run(connection, "CREATE TEMP TABLE touched AS FROM quantlab_tokens")
        connection.unregister("quantlab_tokens")
        run(connection, _UNSETTLED.format(restriction=_TOUCHED))
    run(connection, _CANDIDATES)
    run(connection, _WINNERS)
    run(
        connection,
        f"""
        UPDATE {STORED_CANDLES} SET {COUNTS} = NOT {COUNTS} {_TOUCHED}
        AND {COUNTS} <> (token_address NOT IN (SELECT token_address FROM unsettled)
                         OR rowid IN (SELECT id FROM winners))
        """,  # noqa: S608
    )
    for name in ("touched", "unsettled", "candidates", "winners"):
        run(connection, f"DROP TABLE {name}")
