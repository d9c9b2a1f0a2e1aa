"""Tokens: what an address names, on which network, and which candles a call takes."""
