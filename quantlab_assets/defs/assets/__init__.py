"""The assets, one noun after another: thin bodies that hand frames to handlers.

Each module has the assets of its noun and what only their bodies need. A rule in a body belongs
into a handler; reading, writing and lineage are `defs.data`; names and groups of assets are the
rows of `domain.assets`.
"""
