"""The asset graph from the shell: which Dagster instance, running assets on it, its UI."""
