"""Use cases over the ports, a verb a module, by what they are about.

No I/O of their own: what they need of the world they are handed as a port. Rules that need no port
are `domain`.
"""
