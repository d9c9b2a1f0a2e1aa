"""`quantlab demo`: the whole pipeline on the sample, and what it found."""
