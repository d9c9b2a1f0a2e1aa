"""Candles from a table of a ClickHouse: a server over HTTP, or the engine in this process.

Importing this package imports no driver: that is done when the first question is asked.
"""

from quantlab_assets.adapters.clickhouse.candles import ClickHouseCandles
from quantlab_assets.adapters.clickhouse.connection import Connection
from quantlab_assets.adapters.clickhouse.insert import CandleInserter
from quantlab_assets.adapters.clickhouse.mapping import TableMapping, read_mapping

__all__ = [
    "CandleInserter",
    "ClickHouseCandles",
    "Connection",
    "TableMapping",
    "read_mapping",
]
