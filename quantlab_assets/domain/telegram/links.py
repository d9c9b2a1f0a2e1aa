"""Links: where they stand in a message, whether they name a token or a pool, and on what network.

Links differ in their addresses and in little else: each is reduced to its form (`MARK` for every
candidate address), and a form is read once, by the rules of its host.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote

import polars as pl

from quantlab_assets.domain.telegram.rules import MARK, LinkRule, Role, Rules

ADDRESS: Final = r"[0-9A-Za-z]{32,}"
"""A candidate inside a link: a whole word. A base58 address that a site has put into lower case may
hold an `l`, which base58 has not; it names a pool all the same."""

_CHARACTER: Final = r"[!#-&*-;=?-Z\\^_a-z~]"
_TON: Final = r"([/=])([EUk0]Q[0-9A-Za-z_-]{46})([/?&#]|$)"
_TON_WORD: Final = "0" * 48
"""Stands for an address of TON in a link, whose `-` and `_` would cut it."""

_URL: Final = (
    r"(?:[Hh][Tt][Tt][Pp][Ss]?://|(?-u:\b)(?:[0-9A-Za-z-]+\.)+[A-Za-z]{2,24}/)"
    rf"(?:{_CHARACTER}|\({_CHARACTER}*\)|\[{_CHARACTER}*\]|\{{{_CHARACTER}*\}})*"
)
"""ASCII throughout, also the boundary: links stand right behind emoji and letters of other scripts,
and the boundaries of Unicode make the search ten times slower. A link ends where ASCII does, at a
quote, at `|`, and at a bracket that it does not hold both sides of."""
_SCHEME: Final = r"([Hh][Tt][Tt][Pp][Ss]?://)"
_LABEL: Final = (
    r"(?-u:\b)((?i:ca|contract|mint)[:：](?:0[xX][0-9a-fA-F]{8}|[1-9A-HJ-NP-Za-km-z]{32}))"
)

_FORM: Final = re.compile(r"(?:https?://)?(?:www\.)?([\w.-]*)(?::\d+)?(.*)", re.I | re.S)
_PARAMETER: Final = re.compile(r"[?&#]([\w.-]+)=([^&#]*)")
_BESIDE: Final = re.compile(rf"([A-Za-z0-9]+)[_:-]{MARK}|{MARK}[_:-]([A-Za-z0-9]+)")
_SEGMENT: Final = re.compile(r"[/#]+")
_FORMS_KEPT: Final = 1 << 14

LINK_ADDRESSES: Final = pl.Schema(
    {"url": pl.String, "raw": pl.String, "role": pl.String, "network": pl.String}
)


def separated(text: pl.Expr) -> pl.Expr:
    """The text with every `http(s)://`, and every `CA:` before an address, set off by a space:
    feeds glue links to words, and people labels to links."""
    return text.str.replace_all(_SCHEME, " ${1}").str.replace_all(_LABEL, " ${1}")


def urls_in(text: pl.Expr) -> pl.Expr:
    """The links in a separated text, with or without a scheme, as a list."""
    return text.str.extract_all(_URL)


def outside_urls(text: pl.Expr) -> pl.Expr:
    """A separated text with its links blanked out."""
    return text.str.replace_all(_URL, " ")


def classify(urls: pl.Series, rules: Rules) -> pl.DataFrame:
    """The address each distinct link names, its role and the network the link tells.

    Returns `LINK_ADDRESSES` for links that hold a candidate address; role as in the rules,
    `undecided` where no rule knows the link. A link that wraps another names what that one names.
    """
    distinct = pl.DataFrame({"url": urls.drop_nulls().unique().sort()}, schema={"url": pl.String})
    candidates = distinct.filter(pl.col("url").str.contains(f"{ADDRESS}|{_TON}"))
    if candidates.is_empty():
        return LINK_ADDRESSES.to_frame()
    reader = _reader(rules)
    meant = pl.col("url")
    coded = candidates.filter(meant.str.contains(r"%[0-9A-Fa-f]{2}|[?&](?:q|url|to|u)="))
    if not coded.is_empty():
        links = coded["url"].to_list()
        meant = meant.replace(links, [reader.unwrapped(link) for link in links])
    candidates = candidates.select("url", meant.alias("meant")).with_columns(
        pl.col("meant").str.extract(_TON, 2).alias("ton"),
        pl.col("meant").str.replace(_TON, f"${{1}}{_TON_WORD}${{3}}"),
    )
    candidates = candidates.with_columns(
        pl.col("meant").str.replace_all(ADDRESS, MARK).alias("form")
    )
    forms = candidates["form"].unique().sort().to_list()
    readings = pl.DataFrame(
        [(form, *reader.read(form)) for form in forms],
        schema={"form": pl.String, "role": pl.String, "at": pl.Int64, "network": pl.String},
        orient="row",
    )
    word = pl.col("meant").str.extract_all(ADDRESS).list.get(pl.col("at"), null_on_oob=True)
    return (
        candidates.join(readings, on="form", how="left", maintain_order="left")
        .with_columns(
            pl.when(word == _TON_WORD).then("ton").otherwise(word).alias("raw"),
        )
        .filter(pl.col("raw").is_not_null())
        .select(list(LINK_ADDRESSES))
    )


class _Reading(NamedTuple):
    """What a form says: its role, the address that counts (by position), and the network."""

    role: Role
    at: int
    network: str | None


class _Reader:
    """Reads forms by one set of rules, and remembers them."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._redirects = [re.compile(pattern, re.IGNORECASE) for pattern in rules.redirects]
        self.read = lru_cache(_FORMS_KEPT)(self._read)
        self._rules_of = lru_cache(_FORMS_KEPT)(self._rules_of_host)

    def unwrapped(self, url: str) -> str:
        """The link that a link wraps, or itself, with nothing percent-coded."""
        for redirect in self._redirects:
            if wraps := redirect.match(url):
                return unquote(wraps[1])
        return unquote(url)

    def _read(self, form: str) -> _Reading:
        parts = _FORM.match(form)
        host, rest = parts.groups() if parts else ("", form)
        before = form.count(MARK) - rest.count(MARK)
        role: Role
        for rule in self._rules_of(host.lower()):
            if (match := rule.path.match(rest)) is None:
                continue
            if rule.role != "swap":
                role, at, named = (
                    rule.role,
                    match.start("address"),
                    match.groupdict().get("network"),
                )
            elif swap := self._swap(rest):
                (role, at), named = swap, None
            else:
                continue
            network = self._network(named) or self._told(rest) or rule.network
            marks = before + rest.count(MARK, 0, at)
            return _Reading(role, marks, network or self._site(host.lower()))
        return _Reading("undecided", 0, self._told(rest) or self._site(host.lower()))

    def _rules_of_host(self, host: str) -> tuple[LinkRule, ...]:
        return tuple(rule for rule in self._rules.links if rule.host.fullmatch(host))

    def _swap(self, rest: str) -> tuple[Role, int] | None:
        """What is bought, by the parameters, or else what is sold; and where its address is."""
        given = {match[1].lower(): match for match in _PARAMETER.finditer(rest)}
        sides: tuple[tuple[Role, tuple[str, ...]], ...] = (
            ("token", self._rules.swaps.bought),
            ("sold", self._rules.swaps.sold),
        )
        for role, names in sides:
            for name in names:
                if (value := given.get(name)) is None:
                    continue
                if MARK in value[2]:
                    return role, value.start(2) + value[2].index(MARK)
                if value[2].lower() in self._rules.swaps.quotes:
                    break
        return None

    def _told(self, rest: str) -> str | None:
        """The network that a parameter names, or else a segment of the path or a neighbour of the
        address; null if several do."""
        given = {match[1].lower(): match[2] for match in _PARAMETER.finditer(rest)}
        for name in self._rules.swaps.network:
            if network := self._network(given.get(name)):
                return network
        names = {self._rules.network_names.get(word) for word in _words(rest)} - {None}
        return names.pop() if len(names) == 1 else None

    def _network(self, name: str | None) -> str | None:
        name = (name or "").lower()
        return self._rules.network_names.get(name) or self._rules.network_ids.get(name)

    def _site(self, host: str) -> str | None:
        while host:
            if network := self._rules.network_sites.get(host):
                return network
            host = host.partition(".")[2]
        return None


def _words(rest: str) -> Iterator[str]:
    """What may name a network: segments of the path, and what stands right beside an address."""
    lowered = rest.lower()
    yield from _SEGMENT.split(lowered.partition("?")[0])
    for match in _BESIDE.finditer(lowered):
        yield match[1] or match[2]


@lru_cache(8)
def _reader(rules: Rules) -> _Reader:
    return _Reader(rules)
