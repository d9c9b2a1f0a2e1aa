"""The assets, one noun after another: thin bodies that hand frames to handlers."""
