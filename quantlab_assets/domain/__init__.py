"""Pure data and rules: what an artifact, an alert, a candle and a strategy are.

No I/O, no Dagster, no DuckDB, no SQLite: everything here is a function of its arguments.
"""
