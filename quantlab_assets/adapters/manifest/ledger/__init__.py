"""The ledger of experiments, in the manifest database beside the artifacts it speaks of.

`tracker` is the port's adapter, the other files are its parts.
"""

from quantlab_assets.adapters.manifest.ledger.tracker import ExperimentLedger

__all__ = ["ExperimentLedger"]
