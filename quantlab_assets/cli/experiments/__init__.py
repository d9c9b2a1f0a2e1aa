"""`quantlab experiments` and `strategies`: each module has the commands of one purpose."""
