"""The asset graph from the shell: which Dagster instance, running assets on it, its UI.

What the assets are is `defs`; which days to run, the command's business that asks for them.
"""
