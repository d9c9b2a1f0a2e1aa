"""Telegram Desktop exports, read into frames of messages."""
