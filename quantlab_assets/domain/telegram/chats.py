"""Chats: the id that one goes by, and which of sixteen artifacts of a day has it.

What is known of the senders of a chat is not here.
"""

import hashlib
import re
from typing import Any, Final

_CHANNELS: Final = -(10**12)
"""Bots and libraries show channels and supergroups as this minus their id: `-1002000000000`."""
_FORM: Final = re.compile(r"(?:channel|chat|user)?\+?([0-9]{1,18})|(-[0-9]{1,18})", re.ASCII)
_INT64: Final = range(-(2**63), 2**63)


def chat_id_of(value: Any) -> int | None:
    """The id that a chat goes by, from any form it is shown in; None if it is no chat's id.

    Exports of Telegram Desktop have `2000000065`, bots `-1002000000065`, senders
    `channel2000000065`; a basic group is `4567` or `-4567`. All of a chat give the same.
    """
    if isinstance(value, str):
        form = _FORM.fullmatch(value.strip())
        value = None if form is None else int(form[1] or form[2])
    if type(value) is not int or value not in _INT64:
        return None
    if value < _CHANNELS:
        return _CHANNELS - value
    return abs(value)


def chat_bucket(chat_id: int) -> str:
    """The first hex digit of the SHA-256 of the chat's id in decimal.

    A day's messages are kept in sixteen artifacts: one for each chat would be tens of thousands for
    the export of an account.
    """
    return hashlib.sha256(str(chat_id).encode()).hexdigest()[0]
