"""How loops over arrays are compiled and shared out, and sums that have one value everywhere."""
