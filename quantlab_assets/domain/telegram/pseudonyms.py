"""Stable keyed pseudonyms for people: the same person is the same name under the same key.

Without the key neither the name can be found from the pseudonym, nor a guess be confirmed. See
docs/alerts.md for what is covered and what is not.
"""

import hmac
from hashlib import sha256
from typing import Final

from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.telegram.rules import normal_name

MIN_KEY_BYTES: Final = 16
_DIGITS: Final = 16
_CHAT_ID_BITS: Final = 52


class Pseudonyms:
    """Pseudonyms under one key (HMAC-SHA256, 64 bits shown).

    Raises `ValidationFailed` for a key of less than 16 bytes.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < MIN_KEY_BYTES:
            raise ValidationFailed(
                f"the pseudonym key has {len(key)} bytes, and needs at least {MIN_KEY_BYTES}; make "
                "one with: openssl rand -hex 32"
            )
        self._key = key
        self._known: dict[tuple[str, str], str] = {}

    @property
    def fingerprint(self) -> str:
        """What tells keys apart without giving one away: recorded with what is published."""
        return self._digest("fingerprint", "")

    def name(self, name: str) -> str:
        """`caller-<16 hex digits>`; names that compare equal have the same pseudonym."""
        return f"caller-{self._digest('name', normal_name(name))}"

    def sender_id(self, sender_id: str) -> str:
        """`user-<16 hex digits>`."""
        return f"user-{self._digest('id', sender_id)}"

    def chat_id(self, chat_id: int) -> int:
        """The id of a chat with one person, which is that person's id: a positive number."""
        digest = hmac.digest(self._key, f"chat\0{chat_id}".encode(), sha256)
        return int.from_bytes(digest, "big") % (1 << _CHAT_ID_BITS)

    def _digest(self, kind: str, value: str) -> str:
        known = self._known.get((kind, value))
        if known is None:
            message = f"{kind}\0{value}".encode("utf-8", "surrogatepass")
            known = hmac.digest(self._key, message, sha256).hex()[:_DIGITS]
            self._known[kind, value] = known
        return known
