"""`quantlab ingest` and `quarantine`: raw files into the lake, and what was refused of them.

Reading the files is the sources' business, what they come to `handlers.ingest`.
"""
