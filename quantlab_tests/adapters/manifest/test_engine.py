"""A manifest file that a disk has changed: said in one line, whatever SQLite makes of it."""

from pathlib import Path

import pytest

from quantlab_assets.adapters.manifest.engine import ManifestDatabase
from quantlab_assets.domain.errors import IntegrityError


@pytest.mark.parametrize("statement", [b"CREATE INDEX tags_by_value", b"CREATE TABLE sources"])
def test_a_broken_byte_anywhere_in_the_schema_is_damage(statement: bytes, tmp_path: Path) -> None:
    whole = tmp_path / "whole.sqlite"
    ManifestDatabase.open(whole, create=True)
    content = whole.read_bytes()
    broken = tmp_path / "broken.sqlite"
    refused = 0
    for place in range(len(statement) - 8):  # the name at its end may be any text
        changed = statement[:place] + b"\xdf" + statement[place + 1 :]
        broken.write_bytes(content.replace(statement, changed))
        with pytest.raises(IntegrityError, match="damaged"):
            ManifestDatabase.open(broken)
        refused += 1
    assert refused > 10
