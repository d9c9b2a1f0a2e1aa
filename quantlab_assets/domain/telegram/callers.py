"""Who a caller is: an id where one is known, else a name within its chat.

A display name is no identity: two groups have an `Admin` each, a person changes the name, and every
deleted account is called `Deleted Account`. What a caller is called is in `senders`.
"""

import polars as pl


def caller_key(sender_id: str, chat_id: str, name_norm: str) -> pl.Expr:
    """The key of a caller, from the columns that have Telegram's id of the sender, the chat's id
    and the normalised name.

    `user111` is `user:111`, `channel222` is `channel:222`; without such an id `name:<chat>:<name>`.
    """
    parts = pl.col(sender_id).str.extract_groups(r"^(?<kind>user|channel)(?<id>.+)$")
    kind, known = parts.struct.field("kind"), parts.struct.field("id")
    return pl.coalesce(
        pl.when(known.is_not_null()).then(pl.format("{}:{}", kind, known)),
        pl.format("name:{}:{}", chat_id, name_norm),
    )
