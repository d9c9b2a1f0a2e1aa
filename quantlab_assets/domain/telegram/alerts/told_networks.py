"""What a message says of the network of an EVM address in it: words and links beside the address.

`BSC: 0x...`, `#ETH`, `on Base`, a link to a pool on Base, an explorer's page of the address. What a
link says of the address it names itself is in the mentions already; which network a call takes of
all that was said is decided in `calls`.
"""

import polars as pl

from quantlab_assets.domain.telegram import links
from quantlab_assets.domain.telegram.rules import MARK, Rules
from quantlab_assets.domain.tokens import network_names as networks
from quantlab_assets.domain.tokens.token import EVM_ADDRESS, folded_address


def networks_told(versions: pl.DataFrame, mentions: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """Rows `v`, address, network: what the version says of EVM addresses that it calls.

    A line speaks of the addresses in its text, and, if it has none, of all that the message calls;
    a link in it that names one of them speaks of that one only. Links without a text of their own
    (`hrefs`) stand in no line. Only networks that can hold EVM addresses count.
    """
    called = (
        mentions.filter((pl.col("chain") == "evm") & pl.col("role").is_in(["text", "token"]))
        .select("v", "address")
        .unique()
    )
    if called.is_empty():
        return called.with_columns(pl.lit(None, pl.String).alias("network"))
    lines = _lines(versions.join(called, on="v", how="semi"))
    said = pl.concat([_in_words(lines, rules), _in_links(lines, called, rules)]).filter(
        networks.fits(pl.col("network"), pl.lit("evm"), rules).is_not_null()
    )
    spoken_of = pl.concat(
        [
            lines.explode("addresses").select("v", "line", pl.col("addresses").alias("address")),
            lines.filter(pl.col("addresses").list.len() == 0)
            .select("v", "line")
            .join(called, on="v"),
        ]
    )
    of_line = said.filter(pl.col("address").is_null()).drop("address")
    return (
        pl.concat(
            [
                of_line.join(spoken_of, on=["v", "line"]).select("v", "address", "network"),
                said.filter(pl.col("address").is_not_null()).select("v", "address", "network"),
            ]
        )
        .join(called, on=["v", "address"], how="semi")
        .unique()
    )


def _lines(versions: pl.DataFrame) -> pl.DataFrame:
    """The lines of texts with their links and, outside of links, their words and EVM addresses; one
    more for the links that stand in no text."""
    written = (
        versions.select("v", pl.col("separated").str.split("\n").alias("written"))
        .explode("written")
        .with_columns(links.urls_in(pl.col("written")).alias("urls"))
    )
    apart = versions.select("v", pl.lit("").alias("written"), pl.col("hrefs").alias("urls"))
    words = links.outside_urls(pl.col("written"))
    return (
        pl.concat([written, apart])
        .with_row_index("line")
        .select(
            "v",
            "line",
            "urls",
            words.str.replace_all(EVM_ADDRESS, MARK).alias("words"),
            words.str.extract_all(EVM_ADDRESS)
            .list.eval(folded_address(pl.element()))
            .alias("addresses"),
        )
    )


def _in_words(lines: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """What words say: rows `v`, line, address (null: of the whole line), network."""
    found = [
        pl.col("words").str.extract_all(pattern).list.eval(pl.element().str.extract(pattern, 1))
        for pattern in rules.text_network_patterns
    ]
    return (
        lines.select("v", "line", pl.concat_list(found).alias("name"))
        .explode("name")
        .select(
            "v",
            "line",
            pl.lit(None, pl.String).alias("address"),
            networks.network_of(pl.col("name"), rules, ids=True).alias("network"),
        )
    )


def _in_links(lines: pl.DataFrame, called: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """What links say, in the same form; of one that names an address that is called, for that."""
    urls = lines.select("v", "line", pl.col("urls").alias("url")).explode("url").drop_nulls("url")
    told = urls.join(links.classify(urls["url"], rules), on="url").drop_nulls("network")
    named = called.with_columns(pl.lit(True).alias("named"))
    return (
        told.with_columns(folded_address(pl.col("raw")).alias("address"))
        .join(named, on=["v", "address"], how="left")
        .select("v", "line", pl.when("named").then("address").alias("address"), "network")
    )
