"""What an artifact is: its type, its identity, its canonical form, the records about it."""
