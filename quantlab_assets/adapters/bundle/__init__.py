"""Artifacts in one tar file, from one lake into another; see docs/store.md.

What a bundle holds, how it is written and how one from anybody is taken in. Of the manifest it uses
the writer that publishing uses.
"""
