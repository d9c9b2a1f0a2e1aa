"""`quantlab artifacts`: each module has the commands of one purpose.

`records` is how artifacts are printed. The store itself is `adapters.artifact_store`.
"""
