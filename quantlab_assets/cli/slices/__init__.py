"""`quantlab slices`: each module has the commands of one purpose.

`columns` is what their tables have in common. What they do is `handlers.slices`.
"""
