"""What an artifact is: its type, its identity, its canonical form, the records about it.

Where artifacts are kept and how they are written is `adapters`' business.
"""
