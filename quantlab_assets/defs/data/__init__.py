"""How data enters and leaves the lake in the graph: reads, writes, lineage, metadata.

What the assets are stands in `defs.assets`; nothing here knows a single one of them.
"""
