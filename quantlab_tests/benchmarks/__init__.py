"""Benchmarks: commands that print figures and ratios. They judge nothing; tests do."""
