"""Small, obvious implementations of the ports, held to the contract suites of the real ones."""
