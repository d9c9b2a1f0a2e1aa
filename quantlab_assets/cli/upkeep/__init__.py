"""`quantlab status`, `backup`, `restore`, `du` and `doctor`: how the lake is.

Checks and repairs of the artifacts themselves are commands of `cli.artifacts`.
"""
