"""Which candles a call takes: the relation against the rule told call by call."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantlab_assets.domain.tokens.networks import networks_taken

Named = str | None
NETWORKS = (None, "bsc", "base", "ethereum")
CALLS = {"call": pl.Int64, "chain": pl.String, "mint": pl.String, "token_chain": pl.String}
CANDLES = {"chain": pl.String, "mint": pl.String, "token_chain": pl.String}


def taken(
    calls: list[tuple[str, str, Named]], candles: list[tuple[str, str, Named]]
) -> list[Named]:
    """What each call takes: a network, `unknown`, or why it takes nothing."""
    frame = networks_taken(
        pl.DataFrame([(n, *call) for n, call in enumerate(calls)], schema=CALLS, orient="row"),
        pl.DataFrame(candles, schema=CANDLES, orient="row"),
    )
    assert frame["call"].to_list() == list(range(len(calls))), "each call once, in its order"
    return [
        (network or "unknown") if outcome == "taken" else outcome
        for network, outcome in frame.select("network", "outcome").iter_rows()
    ]


def evm(named: Named, *held: Named) -> str | None:
    """What a call of an EVM address takes that has candles on some networks."""
    (answer,) = taken([("evm", "0xaa", named)], [("evm", "0xaa", network) for network in held])
    return answer


def told(chain: str, named: Named, held: set[Named]) -> str:
    """The rule in words, for one call."""
    if chain == "solana":
        return "solana" if held else "no_candles"
    known = held - {None}
    if named is not None and named in known:
        return named
    if named is None and len(known) == 1:
        return next(name for name in known if name)
    if named is None and len(known) > 1:
        return "ambiguous_network"
    return "unknown" if None in held else "no_candles"


def test_a_named_network_is_taken_alone() -> None:
    assert evm("bsc", "bsc", "base", None) == "bsc"
    assert evm("bsc", "bsc", None) == "bsc", "the unknown ones may be another token's"


def test_without_candles_of_its_own_a_call_takes_those_of_unknown_network() -> None:
    assert evm("bsc", None) == evm("bsc", "base", None) == "unknown"
    assert evm("bsc", "base") == "no_candles"


def test_a_call_that_names_none_takes_the_only_known_network_or_the_unknown() -> None:
    assert evm(None, "bsc") == evm(None, "bsc", None) == "bsc"
    assert evm(None, None) == "unknown"
    assert evm(None) == "no_candles"


@pytest.mark.parametrize("held", [("bsc", "base"), ("bsc", "base", None)])
def test_several_networks_are_ambiguous_for_a_call_that_names_none(held: tuple[Named, ...]) -> None:
    assert evm(None, *held) == "ambiguous_network"


@pytest.mark.parametrize("named", [None, "solana"])
@pytest.mark.parametrize("held", [{None}, {"solana"}, {None, "solana"}])
def test_solana_is_one_network_said_or_not(named: Named, held: set[Named]) -> None:
    assert taken([("solana", "So1", named)], [("solana", "So1", n) for n in held]) == ["solana"]


def test_a_call_may_be_judged_by_candles_of_its_own() -> None:
    calls = pl.DataFrame(
        [(1, "evm", "0xaa", None), (2, "evm", "0xaa", None), (3, "evm", "0xaa", "base")],
        schema=CALLS,
        orient="row",
    )
    candles = pl.DataFrame(
        [(1, "evm", "bsc"), (2, "evm", "bsc"), (2, "evm", "base"), (3, "evm", None)],
        schema={"call": pl.Int64, "chain": pl.String, "token_chain": pl.String},
        orient="row",
    )
    assert networks_taken(calls, candles, on=["call"]).select("network", "outcome").rows() == [
        ("bsc", "taken"),
        (None, "ambiguous_network"),
        (None, "taken"),
    ]


TOKENS = st.sampled_from([("evm", "0xaa"), ("evm", "0xbb"), ("solana", "So1"), ("solana", "So2")])


@st.composite
def rows(draw: st.DrawFn) -> list[tuple[str, str, Named]]:
    drawn = []
    for chain, mint in draw(st.lists(TOKENS, max_size=12)):
        networks = NETWORKS if chain == "evm" else (None, "solana")
        drawn.append((chain, mint, draw(st.sampled_from(networks))))
    return drawn


@given(rows(), rows())
@settings(max_examples=300, deadline=None)
def test_the_relation_is_the_rule_for_every_call(
    calls: list[tuple[str, str, Named]], candles: list[tuple[str, str, Named]]
) -> None:
    expected = [
        told(chain, named, {network for c, m, network in candles if (c, m) == (chain, mint)})
        for chain, mint, named in calls
    ]
    assert taken(calls, candles) == expected
    assert taken(calls, candles[::-1] * 2) == expected, "neither order nor repetition matters"
