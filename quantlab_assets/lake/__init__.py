"""The lab from Python: `open_lake()` and what it hands out. A composition root.

It binds the adapters to the ports; the rules are elsewhere.
"""

from quantlab_assets.lake.lake import Lake, open_lake

__all__ = ["Lake", "open_lake"]
