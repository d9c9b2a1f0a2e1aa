"""`quantlab experiments` and `strategies`: each module has the commands of one purpose.

`records` is how experiments are printed. What they do is `handlers.experiments`.
"""
