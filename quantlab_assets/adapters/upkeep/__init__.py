"""What keeps a lake in order: audit, garbage collection, backup, rebuild, diagnosis.

Each works on the store and the manifest as they are; none is needed to publish or to read.
"""
