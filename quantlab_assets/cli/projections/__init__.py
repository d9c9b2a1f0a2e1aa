"""`quantlab projections`: each module has the commands of one purpose."""
