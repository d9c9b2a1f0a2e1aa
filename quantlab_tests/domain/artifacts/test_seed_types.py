"""Artifact types: their keys, and what a registry refuses."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantlab_assets.domain.artifacts.registry import TypeRegistry
from quantlab_assets.domain.artifacts.seed_types import (
    ALERTS,
    ALERTS_QUARANTINE,
    OHLCV_SLICE,
    SEED_TYPES,
    STRATEGY,
    TELEGRAM_MESSAGES,
)
from quantlab_assets.domain.artifacts.type import ArtifactType
from quantlab_assets.domain.artifacts.upgrade import check_upgrades
from quantlab_assets.domain.errors import NotFound, ValidationFailed

SOLANA = "So11111111111111111111111111111111111111112"
EVM = "0x" + "ab" * 20
WINDOW = "res=1m/from=2025-05-01T00:00:00Z/to=2025-05-02T00:00:00Z"


def of_name(name: str) -> ArtifactType:
    return TypeRegistry().get(name)


@pytest.mark.parametrize(
    ("type_name", "key", "fields"),
    [
        (
            "telegram_messages",
            "day=2025-05-01/bucket=a",
            {"bucket": "a", "day": "2025-05-01"},
        ),
        ("alerts_v1", "day=2025-05-01/chain=evm", {"day": "2025-05-01", "chain": "evm"}),
        (
            "alerts_quarantine",
            "day=unknown/source=0123456789abcdef",
            {"source": "0123456789abcdef"},
        ),
        (
            "ohlcv_slice_v2",
            f"token=bsc:{EVM}/{WINDOW}",
            {
                "token": f"bsc:{EVM}",
                "res": "1m",
                "from": "2025-05-01T00:00:00Z",
                "to": "2025-05-02T00:00:00Z",
            },
        ),
        ("coverage_summary", "scope=all", {}),
        (
            "experiment_trades",
            "experiment=exp-0123456789abcdef/trades",
            {"experiment": "exp-0123456789abcdef"},
        ),
    ],
)
def test_a_key_says_its_fields_and_is_made_of_them(
    type_name: str, key: str, fields: dict[str, str]
) -> None:
    artifact_type = of_name(type_name)

    assert artifact_type.parse_key(key) == fields
    assert artifact_type.key(**fields) == key


@pytest.mark.parametrize(
    ("artifact_type", "key"),
    [
        (ALERTS, "day=2025-05-01"),
        (ALERTS, "day=2025-05-01/chain=btc"),
        (ALERTS, "day=2025-13-01/chain=evm"),
        (ALERTS, "day=2025-05-01/chain=evm/"),
        (ALERTS, " day=2025-05-01/chain=evm"),
        (ALERTS, "day=2025-05-01/chain=evm\n"),
        (ALERTS, "day=2025-05-01/chain=evm\0"),
        (ALERTS, "day=２０２５-05-01/chain=evm"),
        (ALERTS, "day=../../etc/passwd/chain=evm"),
        (TELEGRAM_MESSAGES, "day=2025-05-01/bucket=.."),
        (TELEGRAM_MESSAGES, "day=2025-05-01/bucket=ab"),
        (OHLCV_SLICE, f"token={EVM.upper()}/{WINDOW}"),
        (OHLCV_SLICE, f"token={SOLANA[:20]}/{WINDOW}"),
        (OHLCV_SLICE, f"token=x'; DROP TABLE artifacts; --/{WINDOW}"),
        (OHLCV_SLICE, f"token={SOLANA}/{WINDOW}/../../x"),
        (STRATEGY, "strategy=../evil"),
        (STRATEGY, "strategy=.hidden"),
        (STRATEGY, "strategy=‮evil"),
        (STRATEGY, f"strategy={'x' * 10_000}"),
        (ALERTS_QUARANTINE, "day=unknown"),
        (ALERTS, ""),
    ],
)
def test_a_hostile_or_malformed_key_is_refused(artifact_type: ArtifactType, key: str) -> None:
    with pytest.raises(ValidationFailed, match=f"{artifact_type.name}: logical key") as refusal:
        artifact_type.parse_key(key)

    assert len(str(refusal.value)) < 400
    assert "\n" not in str(refusal.value)


KEYS = [
    "day=2025-05-01/bucket=a",
    "day=2025-05-01/chain=evm",
    "day=unknown/source=0123456789abcdef",
    f"token={SOLANA}/{WINDOW}",
    f"token=bsc:{EVM}/{WINDOW}",
    "strategy=my_best.v2",
    "experiment=exp-0123456789abcdef/trades",
    "scope=all",
]
ODD = st.sampled_from(
    ["..", "/", "/../", "\\", "\0", "\n", ".", "0", "a", "é", "٣", "\u202e", "=", "~"]
)


@given(st.sampled_from(KEYS), st.lists(st.tuples(st.integers(0, 120), ODD | st.text(max_size=3))))
def test_no_text_that_parses_is_unsafe(key: str, put_in: list[tuple[int, str]]) -> None:
    text = key
    for at, odd in put_in:
        text = text[:at] + odd + text[at:]
    parsed = False
    for artifact_type in SEED_TYPES:
        try:
            artifact_type.parse_key(text)
        except ValidationFailed:
            continue
        parsed = True
        assert not {"..", ".", ""} & set(text.split("/"))
        assert text.isascii()
        assert text.isprintable()
        assert "\\" not in text
    assert parsed or put_in, "a key as it is parses"


def test_a_field_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValidationFailed, match="does not match"):
        ALERTS.key(day="tomorrow", chain="evm")
    with pytest.raises(ValidationFailed, match="no key has the fields"):
        ALERTS.key(day="2025-05-01")


@pytest.mark.parametrize("name", ["", "Up", "a/b", "../x", "a b", "é", "x" * 64, "1st"])
def test_a_type_name_is_a_safe_path_segment(name: str) -> None:
    schema = pa.schema([("a", pa.int64())])
    bad = ArtifactType(name=name, schema_version=1, schema=schema, sort_keys=("a",), keys=("x",))

    with pytest.raises(ValidationFailed, match="artifact type"):
        TypeRegistry().register(bad)


def test_a_type_is_registered_once() -> None:
    with pytest.raises(ValidationFailed, match="registered already"):
        TypeRegistry().register(ALERTS)


def test_an_unknown_type_or_version_is_refused() -> None:
    with pytest.raises(NotFound, match="nonsense"):
        TypeRegistry().get("nonsense")
    with pytest.raises(ValidationFailed, match="version 7"):
        TypeRegistry().get("alerts_v1", 7)


def test_sort_keys_name_columns() -> None:
    schema = pa.schema([("a", pa.int64())])
    with pytest.raises(ValidationFailed, match="unknown columns"):
        ArtifactType(name="x", schema_version=1, schema=schema, sort_keys=("b",), keys=("x",))


def test_a_type_can_have_key_fields_of_its_own() -> None:
    schema = pa.schema([("a", pa.int64())])
    own = ArtifactType(
        name="x",
        schema_version=1,
        schema=schema,
        sort_keys=("a",),
        keys=("book={book}/day={day}",),
        key_fields={"book": "[a-z]+"},
    )
    assert own.parse_key("book=lab/day=2025-05-01") == {"book": "lab", "day": "2025-05-01"}
    with pytest.raises(ValidationFailed, match="does not match"):
        own.parse_key("book=../day=2025-05-01")


@pytest.mark.parametrize(
    ("key_fields", "says"), [({}, "unknown field 'book'"), ({"book": "("}, "unterminated")]
)
def test_a_key_field_needs_a_pattern(key_fields: dict[str, str], says: str) -> None:
    schema = pa.schema([("a", pa.int64())])
    with pytest.raises(ValidationFailed, match=says):
        ArtifactType(
            name="x",
            schema_version=1,
            schema=schema,
            sort_keys=("a",),
            keys=("book={book}",),
            key_fields=key_fields,
        )


def test_types_are_loaded_when_one_is_asked_for() -> None:
    loads: list[int] = []

    def load() -> tuple[ArtifactType, ...]:
        loads.append(1)
        return (ALERTS,)

    registry = TypeRegistry(load)
    assert loads == []
    assert registry.get("alerts_v1") is ALERTS
    assert list(registry) == [ALERTS]
    assert loads == [1]


@pytest.mark.parametrize("artifact_type", SEED_TYPES, ids=lambda kind: kind.name)
def test_the_upgrades_of_every_type_give_what_it_declares(artifact_type: ArtifactType) -> None:
    check_upgrades(artifact_type)
