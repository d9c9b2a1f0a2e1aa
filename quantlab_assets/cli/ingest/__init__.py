"""`quantlab ingest` and `quarantine`: raw files into the lake, and what was refused of them."""
