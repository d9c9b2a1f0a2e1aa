"""Use cases over the ports, one a module. No I/O of their own."""
