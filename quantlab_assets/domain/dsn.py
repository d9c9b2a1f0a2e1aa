"""The address of a database without what must stay secret."""

from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

_SECRET: Final = ("password", "token", "secret", "key", "auth", "headers")


def without_secrets(dsn: str) -> str:
    """The DSN as it may be shown: scheme, host, port and path; no user, password or options."""
    try:
        parts = urlsplit(dsn)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return f"{dsn.split('://', 1)[0]}://..."
    if ":" in host:
        host = f"[{host}]"
    return f"{parts.scheme}://{host}{port}{parts.path}"


def secrets_of(dsn: str) -> frozenset[str]:
    """The texts of a DSN that no message may hold: its password and secret options."""
    try:
        parts = urlsplit(dsn)
        password = parts.password
        options = parse_qsl(parts.query)
    except ValueError:
        return frozenset({dsn})
    secrets = {value for name, value in options if any(word in name.lower() for word in _SECRET)}
    if password:
        secrets |= {password, unquote(password)}
    return frozenset(text for text in secrets if text)
