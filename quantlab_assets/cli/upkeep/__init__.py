"""`quantlab status`, `backup`, `restore`, `du` and `doctor`: how the lake is."""
