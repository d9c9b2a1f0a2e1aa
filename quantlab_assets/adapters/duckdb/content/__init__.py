"""What a projection's file holds: tables of artifacts, which candles count, the research layout.

When and from what a file is built is not said here but in `plan` and `build`.
"""
