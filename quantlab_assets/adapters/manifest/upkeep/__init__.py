"""What looking after a lake asks of its manifest: counts, contradictions, whose bytes may go.

Files are looked at in `adapters.upkeep`, which asks these.
"""
