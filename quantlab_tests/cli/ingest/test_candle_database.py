"""What the shell and the sensors say of candles that come from a ClickHouse; never its secrets."""

from pathlib import Path

import dagster as dg
import pytest

from quantlab_assets.adapters.clickhouse import Connection
from quantlab_assets.defs.resources import LakeResource
from quantlab_assets.defs.sensors import inbox_sensors
from quantlab_tests.adapters.clickhouse.engine import embedded, make_table, new_database
from quantlab_tests.cli.in_front import Shell

SECRET = "hunter2"
AWAY = f"clickhouse://bob:{SECRET}@127.0.0.1:1/market?query_limit=0"


@pytest.fixture
def dsn() -> str:
    name = new_database()
    make_table(Connection(embedded(name)))
    return f"{embedded(name)}&password={SECRET}"


@pytest.mark.parametrize("output", ["table", "json", "csv"])
def test_status_names_the_server_and_asks_it_nothing(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    monkeypatch.setenv("QUANTLAB_CANDLES", AWAY)

    done = shell("status", "--format", output)

    assert done.code == 0
    assert "clickhouse://127.0.0.1:1/market" in done.out
    assert SECRET not in done.out + done.err
    assert "bob" not in done.out + done.err


def test_init_names_it_too(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANTLAB_CANDLES", AWAY)

    assert "clickhouse://127.0.0.1:1/market\n" in shell("init").out


def test_the_demo_stays_out_of_it(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANTLAB_CANDLES", AWAY)

    done = shell("demo", lake=shell.lake.parent / "demo")

    assert done.code == 1
    assert "a variable names clickhouse://127.0.0.1:1/market; unset" in done.err
    assert SECRET not in done.out + done.err


def test_doctor_asks_the_table(shell: Shell, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANTLAB_CANDLES", dsn)

    done = shell("doctor", "--format", "json")

    assert done.code == 0, done.out
    assert any("0 rows of 0 tokens" in one["what"] for one in done.json)
    assert SECRET not in done.out + done.err


def test_doctor_says_that_there_is_none(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quantlab_assets.adapters.clickhouse.connection.PAUSES_S", ())
    monkeypatch.setenv("QUANTLAB_CANDLES", AWAY)

    done = shell("doctor", "--format", "json")

    assert done.code == 1
    (found,) = [one for one in done.json if one["level"] == "error"]
    assert "cannot be reached" in found["what"]
    assert SECRET not in done.out + done.err


def test_the_candle_sensor_has_nothing_to_watch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUANTLAB_CANDLES", AWAY)
    _, sensor = inbox_sensors()

    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(
            instance=instance, resources={"lake": LakeResource(root=str(tmp_path / "lake"))}
        )
        answer = sensor(context)

    assert isinstance(answer, dg.SkipReason)
    assert "database" in str(answer.skip_message)
