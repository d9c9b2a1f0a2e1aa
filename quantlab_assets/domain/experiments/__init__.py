"""Experiments: the strategy, what is frozen, which life an experiment may lead.

What a strategy makes of candles is `simulation`; running one is `handlers.experiments`.
"""
