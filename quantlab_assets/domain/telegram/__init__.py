"""Telegram messages as data: who wrote them, which token they name, when that became known.

Pure rules over frames; the lists they work with (bots, feeds, links, networks) are `rules.toml`.
See docs/alerts.md.
"""
