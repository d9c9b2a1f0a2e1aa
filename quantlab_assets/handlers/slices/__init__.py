"""Plan, export and list slices."""
