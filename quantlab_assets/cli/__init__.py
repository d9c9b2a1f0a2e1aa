"""The `quantlab` command: one module a command or group; parsing and printing only."""
