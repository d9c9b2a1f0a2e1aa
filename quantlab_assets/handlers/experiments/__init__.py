"""Create, execute, reproduce and judge experiments.

What a trade is, is decided in `simulation`; which states follow which, in `domain.experiments`.
"""
