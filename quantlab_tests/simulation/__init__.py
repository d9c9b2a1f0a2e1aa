"""The simulation rules: a slow reference, generated markets, and the engine held against both."""
