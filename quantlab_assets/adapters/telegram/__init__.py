"""Telegram Desktop exports, read into frames of messages, and the folder they lie in.

One chapter for each format below. What a message means, a call or none, is `domain.telegram`.
"""
