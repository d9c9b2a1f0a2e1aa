"""What may be shown of the address of a database."""

import pytest

from quantlab_assets.domain.dsn import secrets_of, without_secrets
from quantlab_assets.settings import Settings


@pytest.mark.parametrize(
    ("dsn", "shown"),
    [
        ("clickhouse://bob:pa%2Fss@host:8123/db?a=1", "clickhouse://host:8123/db"),
        ("clickhouses://host/db", "clickhouses://host/db"),
        ("clickhouse://bob:p@[::1]:8123", "clickhouse://[::1]:8123"),
        ("chdb:///data/lab?database=x", "chdb:///data/lab"),
        ("clickhouse://bob:secret@host:port/db", "clickhouse://..."),
    ],
)
def test_neither_user_nor_password_nor_options_are(dsn: str, shown: str) -> None:
    assert without_secrets(dsn) == shown


def test_secrets_are_found_as_written_and_as_meant() -> None:
    dsn = "clickhouse://bob:pa%2Fss@host/db?access_token=t0ken&compress=1"

    assert secrets_of(dsn) == {"pa%2Fss", "pa/ss", "t0ken"}


def test_settings_do_not_show_it() -> None:
    settings = Settings.from_environment(environ={"QUANTLAB_CANDLES": "clickhouse://b:hunter2@h/x"})

    assert "hunter2" not in repr(settings)
    assert settings.candles_shown == "clickhouse://h/x"
