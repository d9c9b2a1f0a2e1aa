"""`quantlab demo`: the whole pipeline on the sample, and what it found.

It runs the graph as anybody would; no step of the pipeline is its own. The data are `sample`.
"""
