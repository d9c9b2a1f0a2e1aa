"""Implementations of the ports: the Parquet store, projections, ledgers, and readers of raw files.

Adapters know the ports and the domain, nothing else of this package.
"""
