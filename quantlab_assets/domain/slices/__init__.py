"""Slices: which windows calls need, what a slice is called, how complete it is."""
