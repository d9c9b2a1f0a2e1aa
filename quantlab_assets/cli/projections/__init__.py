"""`quantlab projections`: each module has the commands of one purpose.

`records` is how projections are printed. The SQL runs in `adapters.duckdb`.
"""
