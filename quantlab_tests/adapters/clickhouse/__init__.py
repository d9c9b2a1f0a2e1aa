"""Candles from a ClickHouse: the real engine in this process, and over HTTP on this machine."""
