"""The manifest: which artifacts there are, where they came from, and the ledger of experiments.

The only SQL of the project, through SQLAlchemy Core; what is peculiar to SQLite stands in `engine`.
Nothing here opens an artifact.
"""
