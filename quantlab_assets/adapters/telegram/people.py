"""Names and ids of senders as they are stored: of people as pseudonyms, if those are asked for."""

from dataclasses import dataclass, field

from quantlab_assets.domain.telegram.pseudonyms import Pseudonyms
from quantlab_assets.domain.telegram.rules import Rules, normal_name
from quantlab_assets.domain.telegram.senders import sender_kind

_Identity = tuple[str | None, str | None, bool]


@dataclass(slots=True)
class People:
    """What becomes of names. Bots, feeds and channels keep theirs, since rules go by them."""

    rules: Rules
    pseudonyms: Pseudonyms | None
    _known: dict[_Identity, tuple[str | None, str | None, str]] = field(default_factory=dict)

    def sender(
        self, name: str | None, sender_id: str | None, *, service: bool
    ) -> tuple[str | None, str | None, str]:
        """Name and id as they are stored, and the kind. Only people get pseudonyms."""
        identity = (name, sender_id, service)
        known = self._known.get(identity)
        if known is None:
            kind = sender_kind(name, sender_id, service, self.rules)
            known = (name, sender_id, kind)
            if (
                self.pseudonyms is not None
                and sender_kind(name, sender_id, False, self.rules) == "human"
            ):
                known = (
                    None if name is None else self.pseudonyms.name(name),
                    None if sender_id is None else self.pseudonyms.sender_id(sender_id),
                    kind,
                )
            self._known[identity] = known
        return known

    def person(self, name: str) -> str:
        """A name that stands alone: kept if it is a bot's or a feed's."""
        if self.pseudonyms is None or sender_kind(name, None, False, self.rules) != "human":
            return name
        return self.pseudonyms.name(name)

    def mention(self, text: str) -> str:
        """`@name` with the name replaced; a bot's user name ends in `bot` and is kept."""
        at, name = ("@", text[1:]) if text.startswith("@") else ("", text)
        if normal_name(name).endswith("bot"):
            return text
        return at + self.person(name)

    def chat(
        self, chat_id: int | None, name: str | None, *, personal: bool
    ) -> tuple[int | None, str | None]:
        """Id and name of a chat; of one with a person they are that person's."""
        if self.pseudonyms is None or not personal:
            return chat_id, name
        return (
            None if chat_id is None else self.pseudonyms.chat_id(chat_id),
            None if name is None else self.person(name),
        )
