"""Telegram Desktop's JSON export: its records, streamed, and what they say.

Of the folders that exports lie in it knows nothing; that is `export_folder` and `inbox`.
"""
