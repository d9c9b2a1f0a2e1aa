"""With a key, nothing that is read of an export names a person."""

import json
from pathlib import Path
from typing import Any

import polars as pl

from quantlab_assets.adapters.telegram.json.export import read_export
from quantlab_assets.adapters.telegram.json.rows import Batch
from quantlab_assets.domain.telegram.pseudonyms import Pseudonyms

PEOPLE = Pseudonyms(b"k" * 32)


def read(tmp_path: Path, *records: dict[str, Any], **header: Any) -> Batch:
    plain = {"type": "message", "date_unixtime": "1762514985", "text": ""}
    numbered = [plain | {"id": number} | record for number, record in enumerate(records)]
    chat = {"id": 42, "name": "group", "type": "private_group"} | header
    path = tmp_path / "result.json"
    path.write_text(json.dumps(chat | {"messages": numbered}))
    [batch] = read_export(path, pseudonyms=PEOPLE)
    return batch


def one(tmp_path: Path, **fields: Any) -> dict[str, Any]:
    return read(tmp_path, fields).messages.row(0, named=True)


def test_people_have_pseudonyms(tmp_path: Path) -> None:
    row = one(tmp_path, **{"from": "Bob", "from_id": "user5", "forwarded_from": "Carol"})
    assert row["sender_name"] == PEOPLE.name("Bob")
    assert row["sender_id"] == PEOPLE.sender_id("user5")
    assert row["forwarded_from"] == PEOPLE.name("Carol")
    assert row["sender_kind"] == "human"


def test_bots_feeds_and_channels_keep_their_names(tmp_path: Path) -> None:
    rows = read(
        tmp_path,
        {"from": "Rick", "from_id": "user6126376117"},
        {"from": "Wen Presale", "from_id": "user1"},
        {"from": "News", "from_id": "channel9"},
        {"from": "Bob", "from_id": "user5", "forwarded_from": "Phanes"},
    ).messages
    assert rows["sender_name"].to_list()[:3] == ["Rick", "Wen Presale", "News"]
    assert rows["sender_id"].to_list()[:3] == ["user6126376117", "user1", "channel9"]
    assert rows["forwarded_from"][3] == "Phanes"


def test_who_joined_or_pinned_has_a_pseudonym(tmp_path: Path) -> None:
    row = one(tmp_path, type="service", action="pin", actor="Bob", actor_id="user5")
    assert (row["sender_name"], row["sender_kind"]) == (PEOPLE.name("Bob"), "service")


def test_mentions_in_text_are_replaced_and_bots_are_not(tmp_path: Path) -> None:
    parts = [
        "hi ",
        {"type": "mention", "text": "@bob"},
        {"type": "mention_name", "text": "Bob", "user_id": 5},
        {"type": "mention", "text": "@RickBurpBot"},
    ]
    row = one(tmp_path, text=parts, text_entities=parts[1:])
    assert row["text"] == f"hi @{PEOPLE.name('bob')}{PEOPLE.name('Bob')}@RickBurpBot"
    told = json.loads(row["entities_json"])
    assert told[0] == {"type": "mention", "text": f"@{PEOPLE.name('bob')}"}


def test_a_chat_with_one_person_is_that_person(tmp_path: Path) -> None:
    row = read(tmp_path, {"from": "Bob"}, type="personal_chat", name="Bob", id=5).messages
    assert row["chat_name"].to_list() == [PEOPLE.name("Bob")]
    assert row["chat_id"].to_list() == [PEOPLE.chat_id(5)]
    group = read(tmp_path, {"from": "Bob"}).messages
    assert group.select("chat_id", "chat_name").rows() == [(42, "group")]


def test_of_unreadable_records_nothing_is_kept_that_names_anybody(tmp_path: Path) -> None:
    batch = read(
        tmp_path,
        {"from": "Bob", "from_id": "user5", "id": None},
        {"from": {"secret": "Bob"}, "id": {"Bob": 1}},
        {"from": "Bob", "text": "x" * 200_000},
    )
    assert batch.unreadable["text"].to_list() == [None] * 3
    assert batch.unreadable["sender_name"].to_list() == [
        PEOPLE.name("Bob"),
        None,
        PEOPLE.name("Bob"),
    ]
    assert "Bob" not in batch.unreadable.write_json()


def test_nothing_stored_names_the_people_of_an_export(tmp_path: Path) -> None:
    batch = read(
        tmp_path,
        {"from": "Bob Secret", "from_id": "user777"},
        {"type": "service", "action": "x", "actor": "Bob Secret", "actor_id": "user777"},
        {"from": "Bob Secret", "text": [{"type": "mention", "text": "@bobsecret"}]},
        name="Bob Secret",
        type="personal_chat",
        id=777,
    )
    stored = pl.concat([batch.messages]).write_json() + batch.unreadable.write_json()
    assert not {"Bob Secret", "bobsecret", "user777", ":777,"} & set(stored.split('"'))
    assert "Secret" not in stored
    assert "777" not in stored


ODD = [["Bob Secret"], {"name": "Bob Secret"}, {"user_id": 777, "x": ["Bob Secret"]}]


def test_who_is_mentioned_in_a_poll_or_a_task_has_a_pseudonym(tmp_path: Path) -> None:
    named = {"type": "mention", "text": "@bobsecret"}
    rows = read(
        tmp_path,
        {"poll": {"question": ["who? ", named], "answers": [{"text": [named]}, named]}},
        {"todo_list": {"title": [named], "items": [{"text": ["ask ", named]}]}},
    ).messages
    assert rows["text"][0] == "\n".join(
        [f"who? @{PEOPLE.name('bobsecret')}"] + [f"@{PEOPLE.name('bobsecret')}"] * 2
    )
    assert "bobsecret" not in rows.write_json()


def test_a_field_of_an_odd_type_leaks_nobody(tmp_path: Path) -> None:
    fields = ["from", "from_id", "forwarded_from", "author", "via_bot", "edited", "reactions"]
    fields += ["reply_to_message_id", "inline_bot_buttons", "text_entities", "actor", "actor_id"]
    fields += ["poll", "todo_list", "contact_information"]
    batch = read(tmp_path, *[{field: value} for field in fields for value in ODD])
    batch_of_names = read(tmp_path, {"via_bot": "Bob Secret"}, {"author": "Bob Secret"})
    odd_mention = read(tmp_path, {"text": [{"type": ["mention"], "text": "@bobSecret"}]})
    assert batch.messages.height == len(fields) * len(ODD)
    for each in (batch, batch_of_names, odd_mention):
        assert "Secret" not in each.messages.write_json()
        assert "777" not in each.messages.write_json()


def test_the_reason_why_a_record_is_unreadable_shows_no_value(tmp_path: Path) -> None:
    odd: list[dict[str, Any]] = [
        {"id": "Bob Secret"},
        {"type": "Bob Secret"},
        {"date_unixtime": "Bob Secret"},
        {"date_unixtime": None, "date": "Bob Secret"},
    ]
    batch = read(tmp_path, *odd)
    assert batch.unreadable.height == len(odd)
    assert "Secret" not in batch.unreadable.write_json()
    assert "id is str, not a number" in batch.unreadable["error_reason"][0]
