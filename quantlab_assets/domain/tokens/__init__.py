"""Tokens: what an address names, on which network, and which candles a call takes.

Finding addresses in the text of messages is `domain.telegram`.
"""
