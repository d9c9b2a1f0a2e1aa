"""Create, execute, reproduce and judge experiments."""
