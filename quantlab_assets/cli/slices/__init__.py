"""`quantlab slices`: each module has the commands of one purpose."""
