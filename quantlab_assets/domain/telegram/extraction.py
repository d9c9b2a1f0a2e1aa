"""From the messages of UTC days to their alerts: who called which token, and when it was known.

Humans, feeds and channels call; bots and commands never do. Everything is judged by message
version, so that an address that came with an edit is known from the edit on. See docs/alerts.md.

Many days go through each query together, since a thin day costs what a query costs, not what its
rows do. `day` is part of what identifies a message, so no day sees the rows of another.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import polars as pl

from quantlab_assets.domain.artifacts.seed_types import ALERT_EVENTS, ALERTS, ALERTS_QUARANTINE
from quantlab_assets.domain.errors import IntegrityError
from quantlab_assets.domain.telegram import addresses, cards, links, senders
from quantlab_assets.domain.telegram.frames import MESSAGES, typed
from quantlab_assets.domain.telegram.rules import Rules, load_rules, normal_name
from quantlab_assets.domain.tokens import network_names as networks

REPLY_WINDOW: Final = timedelta(minutes=5)
"""How long after a message a bot's reply can still resolve it."""

_MESSAGE: Final = ["day", "chat_id", "message_id"]
_ENTITIES: Final = pl.List(pl.Struct({"href": pl.String}))
_TIME: Final = pl.Datetime("us", "UTC")
_REPLIES: Final = pl.Schema(
    {
        "day": pl.Date(),
        "chat_id": pl.Int64(),
        "message_id": pl.Int64(),
        "chain": pl.String(),
        "mint": pl.String(),
        "raw_address": pl.String(),
        "known_ts_utc": _TIME,
        "bot_message_id": pl.Int64(),
        "bot_ts_utc": _TIME,
        "bot_name": pl.String(),
        "card_network": pl.String(),
        "card_price_usd": pl.Float64(),
        "card_mcap_usd": pl.Float64(),
        "card_asof_ts_utc": _TIME,
        "card_leaks": pl.Boolean(),
        "pool_keys": pl.List(pl.String),
        "seen_at_utc": _TIME,
        "ingest_source": pl.String(),
    }
)
_TICKER: Final = r"\$[A-Za-z][A-Za-z0-9]+"


@dataclass(frozen=True, slots=True)
class Accounting:
    """Messages (not versions) of a day by what became of them; every one is counted once."""

    seen: int
    service: int
    ignored: Mapping[str, int]
    calling: int
    quarantined: int

    def __post_init__(self) -> None:
        told = self.service + sum(self.ignored.values()) + self.calling + self.quarantined
        if told != self.seen:
            raise IntegrityError(
                f"alert accounting: {self.seen} messages seen, {told} accounted for"
            )

    def counts(self) -> dict[str, int]:
        """The figures as flat names, for display and checks."""
        return {
            "messages_seen": self.seen,
            "service": self.service,
            **{f"ignored_{reason}": count for reason, count in sorted(self.ignored.items())},
            "ignored": sum(self.ignored.values()),
            "calling": self.calling,
            "quarantined": self.quarantined,
        }


@dataclass(frozen=True, slots=True)
class Extraction:
    """What a day came to. `outcomes` has one row a message: chat_id, message_id, sender_kind,
    outcome (`service`, `ignored`, `calling`, `quarantined`), reason (of being ignored)."""

    alerts: pl.DataFrame
    events: pl.DataFrame
    quarantine: pl.DataFrame
    outcomes: pl.DataFrame
    accounting: Accounting


def extract_alerts(
    days: Sequence[date],
    messages: pl.DataFrame,
    lookahead: pl.DataFrame,
    rules: Rules | None = None,
) -> dict[date, Extraction]:
    """The alerts of each of `days`, in all versions of its messages.

    Both frames have the columns of `telegram_messages` and `day`, the day for which a row counts.
    `lookahead` holds messages after the end of a day, of which only bots' replies to its last
    messages matter. Results have the columns of `alerts_v1`, `alerts_event_v1`,
    `alerts_quarantine`, and are the same whatever days share the call and in whatever order rows
    come.
    """
    rules = rules or load_rules()
    versions = _versions(messages, rules)
    posts = _posts(versions)
    callable_versions = versions.join(posts.filter("can_call"), on=_MESSAGE, how="semi").filter(
        ~pl.col("is_command") & ~pl.col("bot_forward")
    )
    mentions = _mentions(callable_versions, rules)
    replies = _replies(versions, _versions(lookahead, rules), posts, rules)

    pools = _pools(mentions, replies)
    own = _answered_before(_own_tokens(mentions, pools), replies)
    pairs = pl.concat(
        [mentions.filter(pl.col("role") == "pair").select(_MESSAGE), pools.select(_MESSAGE)]
    ).unique()
    resolved, disputed = _resolved(posts, own, pairs, replies)
    alerts = _alerts(pl.concat([own, resolved]), posts, replies, rules)
    anonymous = alerts.filter(pl.col("caller_name").is_null()).select(_MESSAGE)
    alerts = alerts.filter(pl.col("caller_name").is_not_null())
    events = _events(alerts, versions, mentions, replies)
    quarantine = _quarantine(posts, mentions, pairs, disputed, anonymous, alerts)
    outcomes = _outcomes(posts, alerts, quarantine)
    of_day = zip(
        days,
        _by_day(typed(alerts, ALERTS, "day"), days),
        _by_day(typed(events, ALERT_EVENTS, "day"), days),
        _by_day(typed(quarantine, ALERTS_QUARANTINE, "day"), days),
        _by_day(outcomes, days),
        _accounting(outcomes, days),
        strict=True,
    )
    return {day: Extraction(*found) for day, *found in of_day}


def _by_day(frame: pl.DataFrame, days: Sequence[date]) -> list[pl.DataFrame]:
    """The rows of each day, without the column that says so."""
    parts = frame.partition_by("day", as_dict=True, include_key=False)
    nothing = frame.clear().drop("day")
    return [parts.get((day,), nothing) for day in days]


def _versions(messages: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """The versions with their sender's kind as judged now, in an order that is a function of their
    content, numbered `v`; `known_ts_utc` is when the version came to be.

    HTML does not tell edits: of a text that JSON has too, only JSON says since when it stood. One
    that came in the place of another (JSON has the unedited text, or an earlier export shows
    another) is known from when it was first seen.
    """
    ordered = senders.with_sender_kinds(messages, rules)
    by_time = [*_MESSAGE, "known_ts_utc", "text"]
    forwarder = pl.col("forwarded_from")
    distinct = ordered["forwarded_from"].drop_nulls().unique().sort().to_list()
    bots = [name for name in distinct if normal_name(name) in rules.bots]
    known = pl.max_horizontal(pl.coalesce("edited_ts_utc", "ts_utc"), "ts_utc")
    from_json = pl.col("ingest_source") == "telegram_json"
    told = known.filter(from_json).min().over(*_MESSAGE, "text")
    seen = pl.col("seen_at_utc").min().over(*_MESSAGE, "text")
    unedited = (from_json & pl.col("edited_ts_utc").is_null()).any().over(_MESSAGE)
    came_later = unedited | (seen > pl.col("seen_at_utc").min().over(_MESSAGE))
    untold = pl.when(came_later).then(pl.max_horizontal(known, seen)).otherwise(known)
    return (
        ordered.with_columns(
            pl.when(from_json)
            .then(known)
            .otherwise(pl.coalesce(told, untold))
            .alias("known_ts_utc"),
            senders.is_command(pl.col("text")).alias("is_command"),
            forwarder.is_in(bots).fill_null(False).alias("bot_forward"),
            links.separated(pl.col("text")).alias("separated"),
            pl.col("entities_json")
            .str.json_decode(_ENTITIES)
            .list.eval(pl.element().struct.field("href"))
            .list.drop_nulls()
            .alias("hrefs"),
        )
        .sort(*by_time, *[c for c in MESSAGES if c not in by_time], nulls_last=True)
        .with_row_index("v")
    )


def _posts(versions: pl.DataFrame) -> pl.DataFrame:
    """One row a message: its time, sender, and whether it can be a call at all."""
    named = pl.col("sender_name").str.strip_chars() != ""
    return versions.group_by(_MESSAGE, maintain_order=True).agg(
        pl.col("ts_utc").min().alias("alert_ts_utc"),
        pl.coalesce(pl.when(named).then("sender_name"), "sender_id")
        .drop_nulls()
        .first()
        .alias("caller_name"),
        pl.col("sender_name").drop_nulls().first(),
        pl.col("sender_id").drop_nulls().first().alias("caller_id"),
        pl.col("sender_kind").first(),
        pl.col("text").first(),
        pl.col("seen_at_utc").min(),
        pl.col("ingest_source").first(),
        pl.col("reply_to_message_id").is_not_null().any().alias("is_reply"),
        pl.col("is_service").any().alias("is_service"),
        (pl.col("sender_kind") == "bot").any().alias("is_bot"),
        pl.col("is_command").any().alias("is_command"),
        pl.col("bot_forward").any().alias("bot_forward"),
        (pl.col("text").str.strip_chars() == "").all().alias("no_text"),
        pl.col("text").str.contains(_TICKER).any().alias("has_ticker"),
        pl.col("sender_kind").is_in(senders.CALLING_KINDS).all().alias("can_call"),
    )


def _mentions(versions: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """Every candidate address of the versions: where it stands (`role` text, token, pair, other or
    unknown) and what it is."""
    in_text = (
        versions.select(
            "v",
            addresses.candidates(links.outside_urls(pl.col("separated"))).alias("raw"),
            pl.when(pl.col("sender_kind") == "feed")
            .then(networks.network_in(pl.col("text"), rules.feed_network_patterns, rules))
            .alias("network"),
        )
        .explode("raw")
        .filter(pl.col("raw").is_not_null())
        .with_columns(pl.lit("text").alias("role"))
    )
    urls = (
        versions.select(
            "v", pl.concat_list(links.urls_in(pl.col("separated")), "hrefs").alias("url")
        )
        .explode("url")
        .filter(pl.col("url").is_not_null())
    )
    in_links = urls.join(links.classify(urls["url"], rules), on="url")
    columns = ["v", "raw", "role", "network"]
    found = pl.concat([in_text.select(columns), in_links.select(columns)]).unique()
    judged = found.join(addresses.judge_all(found["raw"]), on="raw")
    context = versions.select("v", *_MESSAGE, "ts_utc", "edited_ts_utc", "known_ts_utc", "text")
    return (
        judged.with_columns(
            networks.fits(pl.col("network"), pl.col("chain"), rules).alias("network"),
        )
        .join(context, on="v")
        .sort(*_MESSAGE, "known_ts_utc", "v", "role", "raw", "network")
    )


def _replies(
    versions: pl.DataFrame, lookahead: pl.DataFrame, posts: pl.DataFrame, rules: Rules
) -> pl.DataFrame:
    """Bots' cards that answer a message in time: the token each names, its figures, and the pools
    it lists (`pool_keys`, lower case). One row for each version of a card."""
    bots = (
        pl.concat([versions.drop("v"), lookahead.drop("v")])
        .filter((pl.col("sender_kind") == "bot") & pl.col("reply_to_message_id").is_not_null())
        .unique(maintain_order=True)
        .with_row_index("v")
    )
    answered = posts.filter(pl.col("can_call") & ~pl.col("is_command") & ~pl.col("bot_forward"))
    bots = bots.join(
        answered.select(
            "day", "chat_id", pl.col("message_id").alias("reply_to_message_id"), "alert_ts_utc"
        ),
        on=["day", "chat_id", "reply_to_message_id"],
    ).filter((pl.col("ts_utc") - pl.col("alert_ts_utc")).is_between(timedelta(0), REPLY_WINDOW))
    if bots.is_empty():
        return _REPLIES.to_frame()

    mentions = _mentions(bots, rules)
    valid = mentions.filter(pl.col("address").is_not_null())
    in_text = valid.filter(pl.col("role") == "text")
    in_links = valid.filter(pl.col("role") == "token").join(in_text, on="v", how="anti")
    named = (
        pl.concat([in_text, in_links])
        .group_by("v")
        .agg(
            pl.struct("chain", "address").n_unique().alias("tokens"),
            pl.col("chain").first(),
            pl.col("address").first().alias("mint"),
            pl.col("raw").min().alias("raw_address"),
        )
        .filter(pl.col("tokens") == 1)
    )
    pools = (
        mentions.filter(pl.col("role") == "pair")
        .group_by("v")
        .agg(pl.col("raw").str.to_lowercase().unique().sort().alias("pool_keys"))
    )
    # Versions of a card can share all of these, in another order each time: the rest decides.
    first = [*_MESSAGE, "bot_ts_utc", "bot_message_id", "known_ts_utc", "raw_address", "card_leaks"]
    return (
        cards.card_figures(bots.join(named, on="v"), rules)
        .join(pools, on="v", how="left")
        .select(
            "day",
            "chat_id",
            pl.col("reply_to_message_id").alias("message_id"),
            "chain",
            "mint",
            "raw_address",
            "known_ts_utc",
            pl.col("message_id").alias("bot_message_id"),
            pl.col("ts_utc").alias("bot_ts_utc"),
            pl.coalesce("sender_name", "sender_id").alias("bot_name"),
            networks.fits(pl.col("card_network"), pl.col("chain"), rules).alias("card_network"),
            "card_price_usd",
            "card_mcap_usd",
            "card_asof_ts_utc",
            "card_leaks",
            "pool_keys",
            "seen_at_utc",
            "ingest_source",
        )
        .sort(*first, *[column for column in _REPLIES if column not in (*first, "pool_keys")])
    )


def _pools(mentions: pl.DataFrame, replies: pl.DataFrame) -> pl.DataFrame:
    """Addresses called as tokens that a bot's card lists as a pool of another token."""
    listed = replies.explode("pool_keys").select(*_MESSAGE, pl.col("pool_keys").alias("key"))
    named = replies.select(*_MESSAGE, pl.col("mint").str.to_lowercase().alias("key"))
    return (
        mentions.filter(pl.col("address").is_not_null())
        .select(*_MESSAGE, "address", pl.col("address").str.to_lowercase().alias("key"))
        .join(listed, on=[*_MESSAGE, "key"], how="semi")
        .join(named, on=[*_MESSAGE, "key"], how="anti")
        .select(*_MESSAGE, "address")
        .unique()
    )


def _own_tokens(mentions: pl.DataFrame, pools: pl.DataFrame) -> pl.DataFrame:
    """The tokens that messages name themselves, each with the earliest version that holds it."""
    named = mentions.filter(
        pl.col("address").is_not_null() & pl.col("role").is_in(["text", "token"])
    ).join(pools, on=[*_MESSAGE, "address"], how="anti")
    return (
        named.sort("known_ts_utc", pl.col("role") != "text", "raw")
        .group_by(*_MESSAGE, "chain", "address", maintain_order=True)
        .agg(
            pl.col("known_ts_utc").first(),
            pl.when(pl.col("role").first() == "text")
            .then(pl.lit("text"))
            .otherwise(pl.lit("link"))
            .alias("mint_source"),
            pl.col("raw").first().alias("raw_address"),
            _agreed("network"),
        )
        .rename({"address": "mint"})
    )


def _answered_before(own: pl.DataFrame, replies: pl.DataFrame) -> pl.DataFrame:
    """The tokens that messages name, known from a bot's answer where all bots answered with that
    token before the message named it: an edit brought the address to the message only later."""
    answers = (
        replies.group_by(_MESSAGE)
        .agg(
            pl.struct("chain", "mint").n_unique().alias("tokens"),
            pl.col("chain", "mint").first(),
            pl.col("known_ts_utc").min().alias("answered"),
        )
        .filter(pl.col("tokens") == 1)
        .drop("tokens")
    )
    before = pl.col("answered") < pl.col("known_ts_utc")
    return (
        own.join(answers, on=[*_MESSAGE, "chain", "mint"], how="left", maintain_order="left")
        .with_columns(
            pl.when(before).then("answered").otherwise("known_ts_utc").alias("known_ts_utc"),
            pl.when(before).then(pl.lit("bot_reply")).otherwise("mint_source").alias("mint_source"),
        )
        .drop("answered")
    )


def _resolved(
    posts: pl.DataFrame, own: pl.DataFrame, pairs: pl.DataFrame, replies: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Messages that name no token themselves, by the token bots answered with; and those to which
    bots answered with different tokens. A human's reply needs at least a pool link of its own."""
    open_posts = posts.join(own, on=_MESSAGE, how="anti")
    open_posts = pl.concat(
        [
            open_posts.filter(~pl.col("is_reply")).select(_MESSAGE),
            open_posts.filter("is_reply").join(pairs, on=_MESSAGE, how="semi").select(_MESSAGE),
        ]
    )
    answers = (
        replies.join(open_posts, on=_MESSAGE, how="semi")
        .sort("known_ts_utc", "bot_message_id", "raw_address")
        .group_by(_MESSAGE, maintain_order=True)
        .agg(
            pl.struct("chain", "mint").n_unique().alias("tokens"),
            pl.col("chain", "mint", "known_ts_utc", "raw_address").first(),
        )
    )
    resolved = answers.filter(pl.col("tokens") == 1).select(
        *_MESSAGE,
        "chain",
        "mint",
        "known_ts_utc",
        pl.lit("bot_reply").alias("mint_source"),
        "raw_address",
        pl.lit(None, pl.String).alias("network"),
    )
    return resolved, answers.filter(pl.col("tokens") > 1).select(_MESSAGE)


def _alerts(
    calls: pl.DataFrame, posts: pl.DataFrame, replies: pl.DataFrame, rules: Rules
) -> pl.DataFrame:
    """Calls with their caller, and with the first card that names the same token."""
    token = [*_MESSAGE, "chain", "mint"]
    figures = ["bot_name", "card_price_usd", "card_mcap_usd", "card_asof_ts_utc", "card_leaks"]
    first_cards = replies.group_by(token, maintain_order=True).agg(
        pl.col(figures).first(), _agreed("card_network")
    )
    alerts = calls.join(posts, on=_MESSAGE).join(first_cards, on=token, how="left")
    callers = alerts["caller_name"].drop_nulls().unique().sort().to_list()
    norms = [senders.caller_name_norm(name) for name in callers]
    solana = pl.when(pl.col("chain") == "solana").then(pl.lit("solana"))
    return alerts.with_columns(
        pl.coalesce(solana, "network", "card_network").alias("token_chain"),
        pl.col("caller_name")
        .replace_strict(callers, norms, default=None, return_dtype=pl.String)
        .alias("caller_name_norm"),
        pl.col("chat_id").alias("alert_chat_id"),
        pl.col("message_id").alias("alert_message_id"),
        pl.format("{}:{}:{}", "chat_id", "message_id", "mint").alias("alert_id"),
    ).sort("alert_ts_utc", "chain", "mint", *_MESSAGE)


def _events(
    alerts: pl.DataFrame, versions: pl.DataFrame, mentions: pl.DataFrame, replies: pl.DataFrame
) -> pl.DataFrame:
    """Each observation of an alert: the call, every edit that holds the token, every bot's card."""
    none = pl.lit(None)
    no_bot = [
        none.cast(pl.String).alias("bot_name"),
        none.cast(pl.Int64).alias("bot_message_id"),
        none.cast(pl.Datetime("us", "UTC")).alias("bot_ts_utc"),
    ]
    seen = ["seen_at_utc", "ingest_source"]
    bots = ["bot_name", "bot_message_id", "bot_ts_utc"]
    base = alerts.with_columns(pl.col("alert_id").alias("alert_key"))
    calls = base.with_columns(
        pl.lit("call").alias("event_kind"), pl.col("alert_ts_utc").alias("event_ts_utc"), *no_bot
    )
    bare = base.drop(*seen, "bot_name", "mint_source", "known_ts_utc")
    edits = (
        mentions.filter(
            pl.col("edited_ts_utc").is_not_null() & pl.col("role").is_in(["text", "token"])
        )
        .sort("v", pl.col("role") != "text")
        .unique(["v", "address"], keep="first", maintain_order=True)
        .join(versions.select("v", *seen), on="v")
        .select(
            *_MESSAGE,
            pl.col("address").alias("mint"),
            pl.col("known_ts_utc").alias("event_ts_utc"),
            pl.when(pl.col("role") == "text")
            .then(pl.lit("text"))
            .otherwise(pl.lit("link"))
            .alias("mint_source"),
            *seen,
        )
    )
    edited = bare.join(edits, on=[*_MESSAGE, "mint"]).with_columns(
        pl.lit("edit").alias("event_kind"), *no_bot
    )
    answered = bare.join(
        replies.select(
            *_MESSAGE, "mint", pl.col("known_ts_utc").alias("event_ts_utc"), *seen, *bots
        ),
        on=[*_MESSAGE, "mint"],
    ).with_columns(
        pl.lit("bot_reply").alias("event_kind"), pl.lit("bot_reply").alias("mint_source")
    )
    columns = ["day", *ALERT_EVENTS.schema.names]
    return (
        pl.concat([part.select(columns) for part in (calls, edited, answered)])
        .unique()
        .sort(columns)
    )


def _quarantine(
    posts: pl.DataFrame,
    mentions: pl.DataFrame,
    pairs: pl.DataFrame,
    disputed: pl.DataFrame,
    anonymous: pl.DataFrame,
    alerts: pl.DataFrame,
) -> pl.DataFrame:
    """What looks like a call and cannot be trusted, with the code and the reason. Broken addresses
    are told even of messages that also call; the rest only of those that do not."""
    text = pl.col("text").alias("shown")
    broken = mentions.filter(
        pl.col("error_code").is_not_null() & pl.col("role").is_in(["text", "token"])
    ).select(*_MESSAGE, text, "error_code", "error_reason")
    vague = mentions.filter((pl.col("role") == "unknown") & pl.col("address").is_not_null()).select(
        *_MESSAGE,
        text,
        pl.lit("ambiguous_address").alias("error_code"),
        pl.format("{}: a link of unknown kind; it may be no token", "raw").alias("error_reason"),
    )
    pool_links = mentions.filter(pl.col("role") == "pair").select(
        *_MESSAGE,
        text,
        pl.lit("pair_address_unresolved").alias("error_code"),
        pl.format("{}: a pool or a sale, not the token; no bot told which token", "raw").alias(
            "error_reason"
        ),
    )

    def whole(of: pl.DataFrame, code: str, reason: str) -> pl.DataFrame:
        return posts.join(of, on=_MESSAGE, how="semi").select(
            *_MESSAGE, text, pl.lit(code).alias("error_code"), pl.lit(reason).alias("error_reason")
        )

    disputes = whole(disputed, "ambiguous_address", "bots answered with different tokens")
    nameless = whole(anonymous, "missing_sender", "the message names neither a sender nor an id")
    unresolved = pl.concat(
        [vague, pool_links.join(disputed, on=_MESSAGE, how="anti"), disputes, nameless]
    ).join(alerts.select(_MESSAGE), on=_MESSAGE, how="anti")
    return (
        pl.concat([broken, unresolved])
        .unique([*_MESSAGE, "error_code", "error_reason"], keep="first", maintain_order=True)
        .join(posts, on=_MESSAGE)
        .select(
            *_MESSAGE,
            pl.col("alert_ts_utc").alias("ts_utc"),
            "sender_name",
            pl.col("shown").alias("text"),
            "error_code",
            "error_reason",
        )
        .sort(*_MESSAGE, "error_code", "error_reason")
    )


def _outcomes(posts: pl.DataFrame, alerts: pl.DataFrame, quarantine: pl.DataFrame) -> pl.DataFrame:
    """What became of each message, once."""
    mark = pl.lit(True)
    calling = alerts.select(_MESSAGE).unique().with_columns(mark.alias("calls"))
    doubtful = quarantine.select(_MESSAGE).unique().with_columns(mark.alias("doubted"))
    reason = (
        pl.when("is_bot")
        .then(pl.lit("bot"))
        .when("is_command")
        .then(pl.lit("command"))
        .when("bot_forward")
        .then(pl.lit("bot_forward"))
        .when("no_text")
        .then(pl.lit("no_text"))
        .when("has_ticker")
        .then(pl.lit("ticker_unresolved"))
        .otherwise(pl.lit("no_token"))
    )
    outcome = (
        pl.when("is_service")
        .then(pl.lit("service"))
        .when("calls")
        .then(pl.lit("calling"))
        .when("doubted")
        .then(pl.lit("quarantined"))
        .otherwise(pl.lit("ignored"))
    )
    return (
        posts.join(calling, on=_MESSAGE, how="left")
        .join(doubtful, on=_MESSAGE, how="left")
        .with_columns(outcome.alias("outcome"))
        .select(
            *_MESSAGE,
            "sender_kind",
            "outcome",
            pl.when(pl.col("outcome") == "ignored").then(reason).alias("reason"),
        )
        .sort(_MESSAGE)
    )


def _accounting(outcomes: pl.DataFrame, days: Sequence[date]) -> list[Accounting]:
    counted = outcomes.group_by("day", "outcome", "reason").len().sort("day", "outcome", "reason")
    counts: dict[date, dict[tuple[str, str | None], int]] = {day: {} for day in days}
    for day, outcome, reason, count in counted.iter_rows():
        counts[day][outcome, reason] = count
    seen = dict(outcomes.group_by("day").len().iter_rows())
    return [
        Accounting(
            seen=seen.get(day, 0),
            service=found.get(("service", None), 0),
            ignored={str(reason): n for (kind, reason), n in found.items() if kind == "ignored"},
            calling=found.get(("calling", None), 0),
            quarantined=found.get(("quarantined", None), 0),
        )
        for day, found in ((day, counts[day]) for day in days)
    ]


def _agreed(column: str) -> pl.Expr:
    """The value on which all that is known agrees, else null."""
    known = pl.col(column).drop_nulls().unique()
    return pl.when(known.len() == 1).then(known.first()).alias(column)
