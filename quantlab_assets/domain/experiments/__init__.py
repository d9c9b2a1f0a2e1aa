"""Experiments: the strategy, what is frozen, which life an experiment may lead."""
