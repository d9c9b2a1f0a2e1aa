"""One spelling of an address: the scalar, the column and the SQL fold alike."""

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantlab_assets.domain.tokens.addresses import token_of
from quantlab_assets.domain.tokens.token import (
    Token,
    fold_address,
    folded_address,
    folded_address_sql,
    is_evm,
)

EVM = "0x2338c5ad75967dac2ff988fc3488109ec2406dfe"
CHECKSUMMED = "0x2338c5AD75967dAC2fF988FC3488109eC2406dfE"
MINT = "9Yn6bnF3eKLqocUVMxduh7WWqgQZ8DvWQDYTX9Ncpump"

SPELLINGS = (EVM, CHECKSUMMED, EVM.upper(), "0X" + CHECKSUMMED[2:], "0x" + EVM[2:].upper())


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_an_evm_address_has_one_spelling(spelling: str) -> None:
    assert is_evm(spelling)
    assert fold_address(spelling) == EVM
    assert token_of(spelling, "bsc") == Token("evm", EVM, "bsc")


def test_the_case_of_a_mint_is_part_of_it() -> None:
    assert not is_evm(MINT)
    assert fold_address(MINT) == MINT
    assert fold_address("") == ""


@given(st.lists(st.from_regex(r"(0[xXyо])?[0-9a-zA-ZÄ%_']{0,6}", fullmatch=True), max_size=20))
@settings(max_examples=100, deadline=None)
def test_columns_and_sql_fold_as_the_scalar_does(texts: list[str]) -> None:
    expected = [fold_address(text) for text in [*SPELLINGS, MINT, *texts]]
    addresses = pl.DataFrame({"address": [*SPELLINGS, MINT, *texts]})
    assert addresses.select(folded_address(pl.col("address"))).to_series().to_list() == expected
    query = f"SELECT {folded_address_sql('address')} FROM addresses"
    with duckdb.connect() as connection:
        connection.register("addresses", addresses.to_arrow())
        assert [text for (text,) in connection.execute(query).fetchall()] == expected


def test_no_address_folds_to_none() -> None:
    column = pl.DataFrame({"address": [None, "0XAB"]}, schema={"address": pl.String})
    assert column.select(folded_address(pl.col("address"))).to_series().to_list() == [None, "0xab"]
    query = f"SELECT {folded_address_sql('a')} FROM (SELECT NULL::VARCHAR AS a)"
    with duckdb.connect() as connection:
        assert connection.execute(query).fetchall() == [(None,)]
