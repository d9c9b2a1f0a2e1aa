"""The rules that are data: bots, feeds, link patterns, network names (`rules.toml`).

A user's own rules are a TOML of the same form, laid over those of the package: see `load_rules`.
"""

import hashlib
import re
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal, get_args

from quantlab_assets.domain.artifacts.identity import canonical_json
from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.tokens.token import fold_address

Role = Literal["token", "pair", "sold", "undecided", "other", "swap"]
ROLES: Final = get_args(Role)

NO_TOKEN_REASONS: Final = ("quote_token", "program")
"""Why an address is no token to call; a message with nothing better is ignored for the first."""

MARK: Final = "\ue000"
"""Stands in a link's form for each candidate address: links differ, and their forms are few."""
_NO_WORD: Final = r"(?:^|[^0-9A-Za-z$_.])"
_NETWORK: Final = r"(?P<network>[\w-]+)"


@dataclass(frozen=True, slots=True)
class LinkRule:
    """One kind of link, by its host and what follows it, in which `MARK` stands for an address.

    `path` has the group `address` (unless the role is `swap`), and `network` if the link names it.
    """

    role: Role
    host: re.Pattern[str]
    path: re.Pattern[str]
    network: str | None


@dataclass(frozen=True, slots=True)
class SwapRules:
    """Names of parameters, in lower case, and the quotes that a bought side may say."""

    bought: tuple[str, ...]
    sold: tuple[str, ...]
    network: tuple[str, ...]
    quotes: frozenset[str]


@dataclass(frozen=True, slots=True, eq=False)
class Rules:
    """`rules.toml`, checked. Names are normalised by `normal_name`.

    `digest` is `sha256:<hex>` of all of it, which every publication records. `no_tokens` has the
    reason by folded address; `network_names` the names of a network, `network_ids` its chain ids,
    `network_sites` the hosts of only it.
    """

    version: int
    digest: str
    bots: frozenset[str]
    bot_ids: frozenset[str]
    feeds: frozenset[str]
    feed_network_patterns: tuple[str, ...]
    card_network_patterns: tuple[str, ...]
    price_pattern: str
    market_cap_pattern: str
    text_network_patterns: tuple[str, ...]
    redirects: tuple[str, ...]
    swaps: SwapRules
    links: tuple[LinkRule, ...]
    no_tokens: Mapping[str, str]
    network_names: Mapping[str, str]
    network_ids: Mapping[str, str]
    network_sites: Mapping[str, str]
    network_families: Mapping[str, str]


def normal_name(name: str) -> str:
    """A name as names are compared: NFKC, trimmed, lower case, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", name).lower().split())


def parse_rules(text: str, own: str | None = None) -> Rules:
    """The rules in a TOML text, with another laid over it.

    Lists of `own` come before the packaged ones, so that its links and patterns match first; a
    network of a known name gains names; everything else replaces. Raises `ValidationFailed` naming
    what is wrong.
    """
    try:
        data = tomllib.loads(text)
        return _rules_of(data if own is None else _merged(data, tomllib.loads(own)))
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError, re.error) as error:
        raise ValidationFailed(
            f"alert rules: {type(error).__name__}: {error}; see docs/alerts.md"
        ) from error


@cache
def load_rules(own: str | None = None) -> Rules:
    """The rules that come with the package, read once; with a user's TOML laid over them."""
    return parse_rules((files(__package__) / "rules.toml").read_text(encoding="utf-8"), own)


_NETWORKS: Final = "networks"


def _merged(base: Mapping[str, Any], own: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """`own` over `base`. A name that `base` has not is a mistake, and said."""
    merged = dict(base)
    for name, value in own.items():
        path = f"{where}{name}"
        if name not in base:
            raise ValidationFailed(
                f"alert rules: unknown {path!r}; known: {', '.join(sorted(base))}"
            )
        if type(value) is not type(base[name]):
            raise ValidationFailed(
                f"alert rules: {path} is {type(value).__name__}, not {type(base[name]).__name__}"
            )
        if isinstance(value, dict):
            merged[name] = _merged(base[name], value, f"{path}.")
        elif path == _NETWORKS:
            merged[name] = _merged_networks(base[name], value)
        else:
            merged[name] = [*value, *base[name]] if isinstance(value, list) else value
    return merged


def _merged_networks(base: list[dict[str, Any]], own: list[dict[str, Any]]) -> list[dict[str, Any]]:
    networks = {entry["name"]: dict(entry) for entry in base}
    for entry in own:
        known = networks.setdefault(entry["name"], {**entry, "names": []})
        if entry.get("family", known["family"]) != known["family"]:
            raise ValidationFailed(
                f"alert rules: network {entry['name']} is of family {known['family']}"
            )
        for plural in ("names", "ids", "sites"):
            known[plural] = [*entry.get(plural, ()), *known.get(plural, ())]
    return list(networks.values())


def _rules_of(data: Mapping[str, Any]) -> Rules:
    senders, cards, networks, swaps = (
        data[part] for part in ("senders", "cards", "networks", "swaps")
    )
    bot = f"(?:{'|'.join(map(_checked, data['deep_links']['bots']))})"

    def by(plural: str) -> dict[str, str]:
        return {n.lower(): entry["name"] for entry in networks for n in entry.get(plural, ())}

    names = {normal_name(n): entry["name"] for entry in networks for n in entry["names"]}
    return Rules(
        version=data["version"],
        digest=f"sha256:{hashlib.sha256(canonical_json(data)).hexdigest()}",
        bots=frozenset(map(normal_name, senders["bots"])),
        bot_ids=frozenset(senders["bot_ids"]),
        feeds=frozenset(map(normal_name, senders["feeds"])),
        feed_network_patterns=tuple(map(_checked, data["feeds"]["network_patterns"])),
        card_network_patterns=tuple(map(_checked, cards["network_patterns"])),
        price_pattern=_checked(cards["price_pattern"]),
        market_cap_pattern=_checked(cards["market_cap_pattern"]),
        text_network_patterns=tuple(
            _text_network_pattern(pattern, data["networks_in_text"]["everyday"], names)
            for pattern in data["networks_in_text"]["patterns"]
        ),
        redirects=tuple(map(_checked, data["redirects"]["patterns"])),
        swaps=SwapRules(
            bought=tuple(swaps["bought"]),
            sold=tuple(swaps["sold"]),
            network=tuple(swaps["network"]),
            quotes=frozenset(swaps["quotes"]),
        ),
        links=tuple(_link_rule(entry, bot) for entry in data["links"]),
        no_tokens=dict(_no_tokens(data["no_tokens"])),
        network_names=names | {entry["name"]: entry["name"] for entry in networks},
        network_ids=by("ids"),
        network_sites=by("sites"),
        network_families={entry["name"]: entry["family"] for entry in networks},
    )


def _text_network_pattern(pattern: str, everyday: list[str], names: Iterable[str]) -> str:
    """A pattern with its macros; longer names are tried before those they begin with."""
    longest_first = sorted(names, key=lambda name: (-len(name), name))
    plain = [name for name in longest_first if name not in everyday]
    for macro, choice in (("{network}", longest_first), ("{plain}", plain)):
        pattern = pattern.replace(macro, f"({'|'.join(map(re.escape, choice))})")
    return "(?i)" + _checked(pattern.replace("{address}", MARK).replace("{no_word}", _NO_WORD))


def _no_tokens(entries: list[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for entry in entries:
        if entry["reason"] not in NO_TOKEN_REASONS:
            raise ValidationFailed(
                f"alert rules: reason {entry['reason']!r} is not {' or '.join(NO_TOKEN_REASONS)}"
            )
        yield from ((fold_address(address), entry["reason"]) for address in entry["addresses"])


def _link_rule(entry: Mapping[str, str], bot: str) -> LinkRule:
    role = entry["role"]
    if role not in ROLES:
        raise ValidationFailed(f"alert rules: link role {role!r} is not {', '.join(ROLES)}")
    path = entry["path"]
    if role != "swap" and path.count("{address}") != 1:
        raise ValidationFailed(f"alert rules: the path {path!r} has not one {{address}}")
    for macro, pattern in (
        ("{address}", f"(?P<address>{MARK})"),
        ("{network}", _NETWORK),
        ("{bot}", bot),
    ):
        path = path.replace(macro, pattern)
    return LinkRule(
        role=role,  # type: ignore[arg-type]
        host=re.compile(entry["host"], re.IGNORECASE),
        path=re.compile(path, re.IGNORECASE),
        network=entry.get("network"),
    )


def _checked(pattern: str) -> str:
    re.compile(pattern)
    return pattern
