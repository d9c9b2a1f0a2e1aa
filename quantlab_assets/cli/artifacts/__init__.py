"""`quantlab artifacts`: each module has the commands of one purpose."""
