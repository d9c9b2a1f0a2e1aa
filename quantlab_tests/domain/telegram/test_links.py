"""Which links name a token, which a pool, and which network they tell.

`golden_links.csv` has a link of every known form, with `SOLANA` or `EVM` for the address.
"""

import csv
from pathlib import Path

import polars as pl
import pytest

from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.telegram.links import classify, outside_urls, separated, urls_in
from quantlab_assets.domain.telegram.rules import load_rules, parse_rules
from quantlab_tests.domain.telegram.alerts.chat_log import EVM, MINT, OTHER_MINT, POOL, only


def classified(url: str) -> tuple[str, str, str | None]:
    row = only(classify(pl.Series([url]), load_rules()))
    return row["role"], row["raw"], row["network"]


with Path(__file__).with_name("golden_links.csv").open(encoding="utf-8", newline="") as file:
    GOLDEN = [(row["link"], row["role"], row["network"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize(("form", "role", "network"), GOLDEN)
def test_a_link_of_every_known_form_says_what_the_table_says(
    form: str, role: str, network: str
) -> None:
    address = MINT if "SOLANA" in form else EVM
    found, raw, told = classified(form.replace("SOLANA", MINT).replace("EVM", EVM))
    family = "solana" if address == MINT else ""
    assert (found, raw, told or family) == (role, address, network)


def test_a_swap_names_what_is_bought_whichever_side_stands_first() -> None:
    for sides in (f"outputMint={MINT}&inputMint={OTHER_MINT}", f"in={POOL}&buy={MINT}&sell=SOL"):
        assert classified(f"https://jup.ag/swap?{sides}")[:2] == ("token", MINT)


def test_a_link_that_names_two_networks_tells_none() -> None:
    assert classified(f"https://unheard-of.example/bsc/base/{EVM}")[2] is None


@pytest.mark.parametrize(
    ("url", "network"),
    [
        (f"https://pump.fun/{MINT}", "solana"),
        (f"https://pump.fun/coin/{MINT}", "solana"),
        (f"https://solscan.io/token/{MINT}", "solana"),
        (f"https://birdeye.so/token/{MINT}?chain=solana", "solana"),
        (f"https://birdeye.so/token/{MINT}", None),
        (f"https://gmgn.ai/sol/token/30I510nA_{MINT}", "solana"),
        (f"http://axiom.trade/t/{MINT}/@phanes?chain=sol", "solana"),
        (f"https://trade.padre.gg/trade/solana/{MINT}?rk=rick", "solana"),
        (f"https://raydium.io/launchpad/token/?mint={MINT}", "solana"),
        (f"https://bscscan.com/token/{EVM}", "bsc"),
        (f"https://etherscan.io/token/{EVM}#code", "ethereum"),
        (f"https://www.basescan.org/token/{EVM}", "base"),
        (f"https://four.meme/token/{EVM}", "bsc"),
        (f"https://web3.okx.com/token/bsc/{EVM}?ref=X", "bsc"),
        (f"bscscan.com/token/{EVM}", "bsc"),
        (f"HTTPS://BscScan.com/token/{EVM}", "bsc"),
        (f"https://t.me/some_bonkbot?start=ref_x_ca_{MINT}", None),
        (f"https://unheard-of.example/token/{MINT}", None),
    ],
)
def test_a_token_link_names_the_token(url: str, network: str | None) -> None:
    role, raw, found = classified(url)
    assert (role, found) == ("token", network)
    assert raw in (MINT, EVM)


@pytest.mark.parametrize(
    "url",
    [
        f"https://dexscreener.com/solana/{POOL}",
        f"https://dexscreener.com/solana/{POOL.lower()}",
        f"https://photon-sol.tinyastro.io/en/lp/{POOL}?handle=30373",
        f"https://www.geckoterminal.com/solana/pools/{POOL}?utm_source=x",
        f"https://www.dextools.io/app/en/solana/pair-explorer/{POOL}",
        f"https://www.defined.fi/sol/{POOL}",
        f"https://gempad.app/presale/{EVM}?network=Base",
        f"https://unheard-of.example/pools/{POOL}",
    ],
)
def test_a_pair_link_names_a_pool(url: str) -> None:
    assert classified(url)[0] == "pair"


@pytest.mark.parametrize(
    ("url", "role"),
    [
        (f"https://www.defined.fi/wallet/{MINT}?utm_source=x", "other"),
        (f"https://solscan.io/tx/{MINT}", "other"),
        (f"https://bscscan.com/address/{EVM}", "undecided"),
        (f"https://solscan.io/account/{MINT}", "undecided"),
        (f"https://x.com/search?maker={MINT}", "undecided"),
    ],
)
def test_other_links_name_no_token(url: str, role: str) -> None:
    assert classified(url)[0] == role


def test_a_link_without_an_address_is_left_out() -> None:
    assert classify(pl.Series(["https://t.me/+JZ3y28iQU", None]), load_rules()).is_empty()


def test_many_links_are_classified_like_each_alone() -> None:
    """So many that they are taken in several parts."""
    many = [f"https://pump.fun/{MINT}?n={number}" for number in range(20_000)]
    urls = [
        f"https://pump.fun/{MINT}",
        f"https://web3.okx.com/token/bsc/{EVM}",
        f"https://unheard-of.example/token/{MINT}",
        f"https://dexscreener.com/solana/{POOL}",
        f"https://solscan.io/token/{MINT}",
    ]

    together = classify(pl.Series([*urls[:2], *many, *urls[2:], urls[0], None]), load_rules())

    found = {
        url: tuple(rest)
        for url, *rest in together.select("url", "role", "raw", "network").iter_rows()
    }
    assert {url: found.pop(url) for url in urls} == {url: classified(url) for url in urls}
    assert found == dict.fromkeys(many, classified(many[0]))
    assert together.height == len(urls) + len(many)


def test_links_glued_to_words_and_to_each_other_are_taken_apart() -> None:
    text = "detected!https://t.me/+abcWebsite: https://a.example/https://gempad.app/presale/0x1?n=b"
    parts = pl.DataFrame({"t": [text]}).select(
        urls_in(separated(pl.col("t"))).alias("urls"),
        outside_urls(separated(pl.col("t"))).alias("rest"),
    )
    assert parts["urls"][0].to_list() == [
        "https://t.me/+abcWebsite:",
        "https://a.example/",
        "https://gempad.app/presale/0x1?n=b",
    ]
    assert "gempad" not in parts["rest"][0]


def test_a_link_needs_no_scheme() -> None:
    frame = pl.DataFrame({"t": [f"look dexscreener.com/solana/{POOL} now"]})
    assert frame.select(urls_in(pl.col("t"))).item().to_list() == [f"dexscreener.com/solana/{POOL}"]


@pytest.mark.parametrize("before", ["买", "Беру", "🔥", "é", "("])
def test_a_link_without_a_scheme_may_stand_right_behind_other_scripts(before: str) -> None:
    """Else its pool would be taken for a token that stands in the text."""
    text = pl.select(separated(pl.lit(f"{before}dexscreener.com/solana/{POOL}")).alias("t"))
    row = only(
        text.select(urls_in(pl.col("t")).alias("in"), outside_urls(pl.col("t")).alias("out"))
    )
    assert row == {"in": [f"dexscreener.com/solana/{POOL}"], "out": f"{before} "}


@pytest.mark.parametrize(
    "text",
    [
        "https://x.com/a/status/1，CA：{}",
        "https://x.com/a（{}）",
        "chart https://dexscreener.com/solana/pool|CA:{}",
        "https://t.me/group|{}|",
        "(https://t.me/group){}",
        "[chart](https://t.me/group){}",
        "{{https://t.me/group}}{}",
        "https://t.me/group。{}",
        "https://t.me/group合约{}",
        "推特：https://x.com/abc合约：{}",
        "https://x.com/あ{}",
        "https://x.com/지갑{}",
        "https://t.me/groupКонтракт:{}",
        "x.com/foo/CA:{}",
        "https://t.me/group/Contract:{}",
        "x.com/foo🔥{}",
    ],
)
@pytest.mark.parametrize("address", [MINT, EVM])
def test_a_link_ends_before_what_is_glued_to_it(text: str, address: str) -> None:
    row = only(
        pl.select(separated(pl.lit(text.format(address))).alias("t")).select(
            urls_in(pl.col("t")).alias("urls"), outside_urls(pl.col("t")).alias("rest")
        )
    )
    assert address in row["rest"]
    assert len(row["urls"]) == 1


def test_a_link_keeps_the_brackets_it_holds_both_sides_of() -> None:
    url = "https://en.wikipedia.org/wiki/Pump_(disambiguation)/x"
    assert pl.select(urls_in(pl.lit(f"({url})"))).item().to_list() == [url]


def test_rules_that_are_wrong_are_refused_with_one_line() -> None:
    for text in ("not toml [", "version = 1", "[senders]\nbots = 3"):
        with pytest.raises(ValidationFailed) as refused:
            parse_rules(text)
        assert "\n" not in str(refused.value)
