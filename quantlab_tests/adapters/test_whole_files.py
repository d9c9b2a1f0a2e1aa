"""A file gets its name only when it is whole, and leaves nothing behind when it is not."""

import hashlib
import os
from pathlib import Path

import pytest

from quantlab_assets.adapters.whole_files import copy_checked, sha256_of_file, written
from quantlab_assets.domain.errors import Conflict


def test_what_was_written_can_be_linked_or_put_in_place(tmp_path: Path) -> None:
    with written(tmp_path, lambda to: to.write(b"new"), mode=0o444) as part:
        assert part.name.startswith(".")
        os.link(part, tmp_path / "linked")
        part.replace(tmp_path / "replaced")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "linked": b"new",
        "replaced": b"new",
    }
    assert (tmp_path / "linked").stat().st_mode & 0o777 == 0o444


def test_what_could_not_be_written_leaves_nothing(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"changed meanwhile")
    folder = tmp_path / "inbox"
    folder.mkdir()
    known = f"sha256:{hashlib.sha256(b'as it was').hexdigest()}"
    with (
        pytest.raises(Conflict, match="source: changed while it was copied"),
        written(folder, lambda to: copy_checked(source, known, to)),
    ):
        raise AssertionError("there is no such file to name")
    assert list(folder.iterdir()) == []


def test_a_file_that_is_gone_has_no_hash(tmp_path: Path) -> None:
    assert sha256_of_file(tmp_path / "gone") == ""
