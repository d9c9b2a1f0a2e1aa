"""Which exports a folder holds, and what of it is left out: said, never in silence."""

from pathlib import Path

import pytest

from quantlab_assets.adapters.telegram.export_folder import export_files
from quantlab_assets.adapters.telegram.given import given_exports
from quantlab_assets.domain.errors import NotFound


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    return folder


@pytest.mark.parametrize(
    ("export", "sent"),
    [
        ("result.json", "files/package.json"),
        ("result.json", "files/deep/er/result.json"),
        ("messages.html", "files/data.json"),
        ("messages.html", "photos/messages.html"),
        ("of/a/chat/result.json", "of/a/chat/video_files/x.json"),
    ],
)
def test_what_was_sent_in_a_chat_is_no_export(tmp_path: Path, export: str, sent: str) -> None:
    [given] = given_exports([touch(tmp_path, export, sent)])
    assert given.files.paths == (export,)
    [note] = given.notes
    assert f"{sent}: left out, an attachment" in note


@pytest.mark.parametrize("name", ["files/result.json", "photos/a.json", "chats/result.json"])
def test_a_folder_of_such_a_name_without_an_export_beside_it_counts(
    tmp_path: Path, name: str
) -> None:
    [given] = given_exports([touch(tmp_path, name)])
    assert (given.files.paths, given.notes) == ((name,), ())


@pytest.mark.parametrize(
    "name", ["messages2 (1).html", "messages - Copy.html", "messages_old.htm", "Messages (12).html"]
)
def test_pages_of_other_names_are_named(tmp_path: Path, name: str) -> None:
    [given] = given_exports([touch(tmp_path, "messages.html", name)])
    assert given.files.paths == ("messages.html",)
    [note] = given.notes
    assert f"{name}: left out" in note
    (tmp_path / "messages.html").unlink()
    with pytest.raises(NotFound, match="no messages"):
        given_exports([tmp_path])


@pytest.mark.parametrize(
    ("numbers", "said"),
    [(["2", "3"], "page 1 of"), (["", "4"], "pages 2, 3 of"), (["9"], "1, 2, 3, 4, 5, ...")],
)
def test_missing_pages_are_said(tmp_path: Path, numbers: list[str], said: str) -> None:
    [given] = given_exports([touch(tmp_path, *(f"messages{n}.html" for n in numbers))])
    [note] = given.notes
    assert said in note


def test_links_out_of_a_folder_are_named_and_left_alone(tmp_path: Path) -> None:
    outside = touch(tmp_path / "outside", "secret.json", "more/result.json")
    folder = touch(tmp_path / "given", "result.json")
    (folder / "secret.json").symlink_to(outside / "secret.json")
    (folder / "more").symlink_to(outside / "more")
    (folder / "again.json").symlink_to(folder / "result.json")
    (folder / "relative.json").symlink_to("../outside/secret.json")
    (folder / "loop.json").symlink_to("loop.json")
    assert [file.path for file in export_files(folder)] == ["again.json", "result.json"]
    first, _ = given_exports([folder])
    named = {note.split(":")[0].removeprefix(f"{folder}/") for note in first.notes}
    assert named >= {"secret.json", "more", "relative.json"}
