"""The assets, one noun after another: thin bodies that hand frames to handlers.

A rule in a body belongs into a handler; reading, writing and lineage are `defs.data`.
"""
