"""Coverage: how much of the time around each call its slices cover."""
