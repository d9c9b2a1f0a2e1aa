"""Chats: which of sixteen artifacts of a day has one.

What is known of the senders of a chat is not here.
"""

import hashlib


def chat_bucket(chat_id: int) -> str:
    """The first hex digit of the SHA-256 of the chat's id in decimal.

    A day's messages are kept in sixteen artifacts: one for each chat would be tens of thousands for
    the export of an account.
    """
    return hashlib.sha256(str(chat_id).encode()).hexdigest()[0]
