"""Exports on their way into the inbox: whole, once, never over another file."""

import hashlib
from pathlib import Path

import pytest

from quantlab_assets.adapters.telegram.intake import Intake
from quantlab_assets.domain.artifacts.records import SourceFile
from quantlab_assets.domain.errors import Conflict, StoreUnavailable


def file(path: Path, content: bytes = b"{}") -> tuple[list[Path], list[SourceFile]]:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return [path], [SourceFile(f"sha256:{digest}", path.name, len(content), "telegram_json")]


def inbox_of(tmp_path: Path) -> dict[str, bytes]:
    inbox = tmp_path / "inbox"
    return {path.name: path.read_bytes() for path in inbox.rglob("*") if path.is_file()}


def test_two_files_of_one_name_both_stay(tmp_path: Path) -> None:
    intake = Intake(tmp_path / "inbox")
    one = intake.take(*file(tmp_path / "a" / "result.json", b"{1}"))
    two = intake.take(*file(tmp_path / "b" / "result.json", b"{2}"))
    assert one != two
    assert inbox_of(tmp_path) == {one: b"{1}", two: b"{2}"}


def test_a_content_that_is_there_is_not_copied_again(tmp_path: Path) -> None:
    file(tmp_path / "inbox" / "sub" / "mine.json", b"{1}")
    taken = Intake(tmp_path / "inbox").take(*file(tmp_path / "result.json", b"{1}"))
    assert taken == "sub/mine.json"
    assert list(inbox_of(tmp_path)) == ["mine.json"]


def test_a_name_is_made_harmless(tmp_path: Path) -> None:
    intake = Intake(tmp_path / "inbox")
    name = intake.take(*file(tmp_path / "..  $(rm -rf) \u202e x.json"))
    assert name.startswith("rm--rf-x-")
    assert intake.take(*file(tmp_path / "💀.json", b"{3}")).startswith("export-")


def test_a_file_that_changed_since_it_was_read_is_not_taken(tmp_path: Path) -> None:
    [path], sources = file(tmp_path / "result.json", b"{1}")
    path.write_bytes(b"{2}")
    with pytest.raises(Conflict, match="changed while it was copied"):
        Intake(tmp_path / "inbox").take([path], sources)
    assert inbox_of(tmp_path) == {}


def test_an_inbox_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "inbox").write_text("")
    with pytest.raises(StoreUnavailable, match="cannot take in"):
        Intake(tmp_path / "inbox").put("retried", b"{}")


def test_the_same_content_put_twice_is_one_file(tmp_path: Path) -> None:
    intake = Intake(tmp_path / "inbox")
    assert intake.put("retried", b"{}") == intake.put("retried", b"{}")
    assert len(inbox_of(tmp_path)) == 1
