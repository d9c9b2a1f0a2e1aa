"""Telegram Desktop's HTML export: pages, messages, texts.

Of the folders that exports lie in it knows nothing; that is `export_folder` and `inbox`.
"""
