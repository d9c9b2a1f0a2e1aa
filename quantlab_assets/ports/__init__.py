"""What the handlers need from the outside world, as protocols and the data they speak in.

Adapters implement them; no implementation stands here, and no method that no handler calls.
"""
