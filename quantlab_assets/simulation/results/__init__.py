"""From fills to what is reported: trades, curves, metrics, ambiguity, diagnostics."""
