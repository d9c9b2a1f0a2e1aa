"""The bytes of artifacts: how they are laid out, written, found and read.

The only code that touches files of the store. It knows nothing of the manifest.
"""
