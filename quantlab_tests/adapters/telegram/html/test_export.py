"""What is read of the pages of an HTML export."""

import base64
import html
import json
import re
import time
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantlab_assets.adapters.telegram.export_folder import ReadingOptions
from quantlab_assets.adapters.telegram.html import structure as html_structure
from quantlab_assets.adapters.telegram.html.export import HtmlExport
from quantlab_assets.adapters.telegram.html.template import read_template
from quantlab_assets.adapters.telegram.json.export import read_export
from quantlab_assets.adapters.telegram.json.rows import STAGED, UNREADABLE
from quantlab_assets.domain.errors import ValidationFailed
from quantlab_assets.domain.telegram.pseudonyms import Pseudonyms
from quantlab_assets.sample import sample_path
from quantlab_tests.adapters.telegram.html.pages import (
    HEAD,
    TAIL,
    Html,
    clock,
    page,
    write,
    year_of,
)

T0 = int(datetime(2025, 11, 7, 12, tzinfo=UTC).timestamp())
CHAT = ReadingOptions(chat_id=5)
MINT = "FRFnJw7CpAjvV7xHbCxLsTCBach5DKkoCRxnPb89bonk"


class Read:
    """An export as it was read."""

    def __init__(self, *paths: Path, options: ReadingOptions = CHAT, **how: Any) -> None:
        work = paths[0].parent / "work"
        work.mkdir(exist_ok=True)
        self.export = HtmlExport(paths, work, options=options, **how)
        batches = list(self.export.batches())
        self.messages = pl.concat([STAGED.to_frame(), *(each.messages for each in batches)])
        self.unreadable = pl.concat([UNREADABLE.to_frame(), *(each.unreadable for each in batches)])

    def codes(self) -> list[str]:
        return self.unreadable["error_code"].to_list()

    def only(self, column: str) -> Any:
        [value] = self.messages[column].to_list()
        return value


@pytest.fixture
def one(tmp_path: Path) -> Any:
    """Reads one page with messages, or of a text."""

    def read(*messages: Html, text: str | None = None, **how: Any) -> Read:
        path = write(tmp_path / "messages.html", messages)
        if text is not None:
            path.write_bytes(text.encode("utf-8", "surrogateescape"))
        return Read(path, **how)

    return read


def sample() -> Path:
    return sample_path() / "telegram"


def test_the_sample_is_read_as_its_json_has_it(tmp_path: Path) -> None:
    pages = []
    for name in ("messages.html", "messages46.html"):
        pages.append(tmp_path / name)
        pages[-1].write_bytes((sample() / name).read_bytes())
    found = Read(*pages, options=ReadingOptions())
    assert (found.export.clock.zone, found.export.chat.chat_id) == ("Australia/Sydney", 1976645587)
    assert found.unreadable.is_empty()
    in_json = pl.concat([batch.messages for batch in read_export(sample() / "result.json")])
    same = ["chat_id", "chat_name", "message_id", "ts_utc", "sender_name", "sender_kind"]
    same += ["reply_to_message_id", "is_service", "text"]
    # The JSON of the sample has lost the text of one forward.
    left = found.messages.filter(pl.col("message_id") != 147875).select(same).sort("message_id")
    right = in_json.join(left, on=["chat_id", "message_id"], how="semi").select(same)
    assert left.height == 38
    assert left.equals(right.sort("message_id"))

    def entities(stored: str) -> list[dict[str, str]]:
        told_otherwise = ("bot_command", "mention", "button")
        kept = [e for e in json.loads(stored) if e["type"] not in told_otherwise]
        return [e for e in kept if not e["text"].startswith("@")]

    for row in found.messages.join(in_json, on="message_id", suffix="_json").iter_rows(named=True):
        assert entities(row["entities_json"]) == entities(row["entities_json_json"])


class TestOneMessage:
    def test_time_sender_and_text(self, one: Any) -> None:
        found = one(Html(7, T0, f"{MINT}<br>watching &amp; waiting", label="UTC+02:30"))
        assert found.only("ts_utc") == datetime(2025, 11, 7, 9, 30, tzinfo=UTC)
        assert found.only("message_id") == 7
        assert (found.only("sender_name"), found.only("sender_kind")) == ("caller_01", "human")
        assert found.only("text") == f"{MINT}\nwatching & waiting"
        assert (found.only("entities_json"), found.only("sender_id")) == ("[]", None)
        assert (found.only("chat_name"), found.only("ingest_source")) == ("group", "telegram_html")

    def test_an_offset_west_of_greenwich(self, one: Any) -> None:
        assert one(Html(7, T0, label="UTC-03:30")).only("ts_utc").hour == 15

    @pytest.mark.parametrize(
        ("markup", "entity"),
        [
            ('<a href="https://x.io/a?b=1&amp;c=2">x</a>', ("text_link", "https://x.io/a?b=1&c=2")),
            ('<a href="https://x.io/">https://x.io/</a>', ("link", None)),
            (
                '<a href="" onclick="return ShowHashtag(&quot;SOL&quot;)">#SOL</a>',
                ("hashtag", None),
            ),
            ('<a href="" onclick="return ShowCashtag(&quot;A&quot;)">$A</a>', ("cashtag", None)),
            (
                '<a href="" onclick="return ShowBotCommand(&quot;dp&quot;)">/dp</a>',
                ("bot_command",),
            ),
            ('<a href="" onclick="return ShowMentionName()">Ann</a>', ("mention_name", None)),
            ('<a href="https://t.me/ann">@ann</a>', ("mention", None)),
            ("<strong>x</strong>", ("bold", None)),
            ("<em>x</em>", ("italic", None)),
            ("<code>x</code>", ("code", None)),
            ("<pre>x</pre>", ("pre", None)),
            ("<del>x</del>", ("strikethrough", None)),
        ],
    )
    def test_entities(self, one: Any, markup: str, entity: tuple[str, ...]) -> None:
        [found] = json.loads(one(Html(7, T0, f"a {markup} b")).only("entities_json"))
        assert found["type"] == entity[0]
        assert found.get("href") == (entity[1] if len(entity) > 1 else None)

    def test_quotes_and_line_breaks_in_entities_are_json(self, one: Any) -> None:
        markup = "<code>a&quot;\\<br>&#9;b&#1;</code>"
        [found] = json.loads(one(Html(7, T0, markup)).only("entities_json"))
        assert found["text"].startswith('a"\\\n\tb')

    def test_a_link_inside_bold_is_found(self, one: Any) -> None:
        markup = '<strong>see <a href="https://pump.fun/x"><em>here</em></a></strong>'
        found = json.loads(one(Html(7, T0, markup)).only("entities_json"))
        assert {"type": "text_link", "text": "here", "href": "https://pump.fun/x"} in found

    def test_buttons_that_open_a_link(self, one: Any) -> None:
        table = (
            '<table class="bot_buttons_table"><tr><td class="bot_button_row"><div '
            'class="bot_button"><a ="" href="http://t.me/b?start=x&amp;y"><div>\nBuy\n</div></a></div></td></tr></table>'
        )
        [found] = json.loads(one(Html(7, T0, body=table)).only("entities_json"))
        assert found == {"type": "button", "text": "Buy", "href": "http://t.me/b?start=x&y"}

    @pytest.mark.parametrize(
        ("href", "message_id"),
        [
            ("#go_to_message3", 3),
            ("messages4.html#go_to_message3", 3),
            ("#message3", 3),
            ("https://t.me/c/1/3", None),
        ],
    )
    def test_replies(self, one: Any, href: str, message_id: int | None) -> None:
        assert one(Html(7, T0, reply_to=href)).only("reply_to_message_id") == message_id

    def test_a_forward_keeps_its_author_and_its_own_time_is_not_the_messages(
        self, one: Any
    ) -> None:
        body = (
            '<div class="pull_left forwarded userpic_wrap"></div><div class="forwarded body">'
            '<div class="from_name">\nchannel_01 💀 <span class="date details" '
            'title="01.01.2020 00:00:00 UTC+00:00"> 01.01.2020 00:00:00</span></div>'
            '<div class="text">\n$ore<br>x\n</div></div>'
        )
        found = one(Html(7, T0, "", body=body))
        assert (found.only("forwarded_from"), found.only("text")) == ("channel_01 💀", "$ore\nx")
        assert (found.only("sender_name"), found.only("ts_utc").year) == ("caller_01", 2025)

    def test_a_message_sent_by_way_of_a_bot_is_its_senders(self, one: Any) -> None:
        assert one(Html(7, T0, name="caller_01 via @pic")).only("sender_name") == "caller_01"

    def test_media_and_reactions_are_no_text(self, one: Any) -> None:
        body = (
            '<div class="media_wrap clearfix"><div class="media clearfix pull_left media_photo">'
            '<div class="body"><div class="title bold">Photo</div><div class="status details">x'
            '</div></div></div></div><span class="reactions"><span class="reaction">'
            '<span class="emoji">❤</span></span></span>'
        )
        assert one(Html(7, T0, "", body=body)).only("text") == ""
        assert one(Html(7, T0, "caption", body=body)).only("text") == "caption"

    def test_a_spoiler_is_text(self, one: Any) -> None:
        markup = (
            f'<span class="spoiler hidden" onclick="ShowSpoiler(this)"><span>{MINT}</span></span>'
        )
        assert one(Html(7, T0, markup)).only("text") == MINT

    @pytest.mark.parametrize("tag", ["<br>", "<br/>", "<br />", "<BR>"])
    def test_a_line_break_parts_words_however_it_is_written(self, one: Any, tag: str) -> None:
        assert one(Html(7, T0, f"a{tag}b<em>c</em>")).only("text") == "a\nbc"

    def test_a_nul_never_joins_what_it_parts(self, one: Any) -> None:
        assert one(Html(7, T0, "ab\0cd")).only("text") == "ab�cd"
        assert one(Html(7, T0, "ab&#0;cd")).only("text") == "ab�cd"
        assert one(Html(7, T0, "ab&#xD800;cd")).only("text") == "ab�cd"


class TestSequence:
    def test_joined_messages_inherit_the_sender_across_pages(self, tmp_path: Path) -> None:
        first = write(tmp_path / "messages.html", [Html(1, T0), Html(2, T0 + 1, name=None)])
        second = write(
            tmp_path / "messages2.html", [Html(3, T0 + 2, name=None), Html(4, T0 + 3, name="Rick")]
        )
        found = Read(first, second).messages
        assert found["sender_name"].to_list() == ["caller_01"] * 3 + ["Rick"]
        assert found["sender_kind"].to_list() == ["human"] * 3 + ["bot"]

    def test_nobody_inherits_from_a_message_that_cannot_be_read(self, one: Any) -> None:
        broken = Html(2, T0, raw='<div class="message default" id="x">?</div>')
        found = one(Html(1, T0), broken, Html(3, T0, name=None))
        assert found.messages["sender_name"].to_list() == ["caller_01", None]
        assert found.codes() == ["missing_id"]

    def test_separators_of_days_are_no_messages_and_service_messages_are(self, one: Any) -> None:
        separator = (
            '<div class="message service" id="message-1"><div class="body details">\n7 November '
            "2025\n</div></div>"
        )
        pinned = (
            '<div class="message service" id="message8"><div class="body details">\nAnn pinned '
            '<a href="#go_to_message7">this message</a>\n</div></div>'
        )
        found = one(
            Html(0, 0, raw=separator), Html(7, T0), Html(0, 0, raw=pinned), Html(9, T0 + 60)
        ).messages
        assert found["message_id"].to_list() == [7, 8, 9]
        assert found["is_service"].to_list() == [False, True, False]
        assert found["ts_utc"].diff().dt.total_seconds().to_list() == [None, 0, 60]
        assert found.row(1, named=True)["text"] == ""

    def test_an_old_template_without_offsets_needs_a_zone(self, one: Any) -> None:
        old = Html(7, T0, label=None)
        with pytest.raises(ValidationFailed, match=r"messages\.html.*--timezone"):
            one(old)
        berlin = ReadingOptions("Europe/Berlin", 5)
        assert one(old, options=berlin).only("ts_utc").hour == 11

    def test_a_time_that_the_clock_never_showed_is_quarantined_with_its_bytes(
        self, one: Any
    ) -> None:
        gap = int(datetime(2025, 3, 30, 2, 30, tzinfo=UTC).timestamp())
        found = one(Html(7, gap, "lost"), Html(8, T0), options=ReadingOptions("Europe/Berlin", 5))
        assert found.messages["message_id"].to_list() == [8]
        row = found.unreadable.row(0, named=True)
        assert (row["message_id"], row["error_code"]) == (7, "bad_date")
        assert row["text"].startswith('<div class="message default')
        assert "lost" in row["text"]

    @pytest.mark.parametrize(
        "zone",
        [
            "Australia/Sydney",
            "America/New_York",
            "Europe/London",
            "America/St_Johns",
            "Pacific/Auckland",
        ],
    )
    def test_a_year_under_a_wrong_label_is_read_right(self, zone: str, tmp_path: Path) -> None:
        start = datetime(2025, 1, 1, 0, 7, tzinfo=UTC)
        july = clock(datetime(2025, 7, 1, tzinfo=UTC), zone) - int(
            datetime(2025, 7, 1, tzinfo=UTC).timestamp()
        )
        sign, minutes = "-" if july < 0 else "+", abs(july) // 60
        label = f"UTC{sign}{minutes // 60:02d}:{minutes % 60:02d}"
        said, true = year_of(zone, label, start, every=timedelta(hours=7), days=365)
        half = len(said) // 2
        found = Read(
            write(tmp_path / "messages.html", said[:half]),
            write(tmp_path / "messages2.html", said[half:]),
        )
        assert found.messages["ts_utc"].to_list() == true
        assert zone in (found.export.clock.zone, *found.export.clock.same)


class TestChat:
    def linked(self, one: Any, *links: str, reply: int = 3) -> Any:
        messages = [
            Html(n, T0, f'<a href="{link}">x</a>', reply_to=f"#go_to_message{reply}")
            for n, link in enumerate(links, start=10)
        ]
        return one(*messages, options=ReadingOptions()).export.chat

    def test_a_bots_link_to_what_it_answers_tells_the_chat(self, one: Any) -> None:
        found = self.linked(one, "https://t.me/c/99/8", "https://t.me/c/123/3")
        assert (found.chat_id, found.basis) == (123, "links")

    def test_a_start_parameter_tells_the_chat(self, one: Any) -> None:
        found = self.linked(one, "https://t.me/phanes_bot?start=call_-100123_9_1d")
        assert (found.chat_id, found.basis) == (123, "links")

    def test_links_to_several_chats_tell_nothing(self, one: Any) -> None:
        found = self.linked(one, "https://t.me/c/99/8", "https://t.me/c/98/8")
        assert found.basis == "title"
        assert "--chat-id" in found.warnings[0]

    def test_without_links_the_title_makes_a_stable_id(self, tmp_path: Path) -> None:
        def chat(folder: str, title: str) -> int:
            path = write(tmp_path / folder / "messages.html", [Html(1, T0)], title)
            return Read(path, options=ReadingOptions()).export.chat.chat_id

        assert chat("a", "group") == chat("b", "group") != chat("c", "other")
        assert 1 << 52 <= chat("a", "group") < 1 << 53

    def test_an_id_that_is_given_wins(self, one: Any) -> None:
        link = Html(1, T0, '<a href="https://t.me/c/123/1">x</a>')
        assert one(link).only("chat_id") == 5


class TestPseudonyms:
    KEYED = Pseudonyms(b"0123456789abcdef")

    def test_no_person_is_named(self, tmp_path: Path) -> None:
        markup = 'hi <a href="" onclick="return ShowMentionName()">Zoe &amp; Co</a> '
        markup += '<a href="" onclick="return ShowMentionName()"><b>Zoe</b>\n</a> '
        markup += (
            '<a href="https://t.me/zoe">@zoe</a> <a href="https://t.me/rick_bot">@rick_bot</a>'
        )
        path = write(
            tmp_path / "messages.html",
            [Html(1, T0, markup, name="Zoe"), Html(2, T0, name="Rick")],
            title="Zoe",
        )
        found = Read(path, options=ReadingOptions(), pseudonyms=self.KEYED)
        shown = found.messages.write_csv()
        assert not {"Zoe", "@zoe"} & set(re.findall(r"@?\w+", shown))
        assert found.messages["sender_name"].to_list() == [self.KEYED.name("Zoe"), "Rick"]
        assert "@rick_bot" in shown

    def test_unreadable_bytes_are_not_kept(self, one: Any) -> None:
        broken = Html(2, T0, raw='<div class="message default" id="x">Zoe</div>')
        found = one(broken, Html(3, T0), pseudonyms=self.KEYED)
        assert found.unreadable["text"].to_list() == [None]


class TestRefused:
    @pytest.mark.parametrize(
        "text",
        ["", "hello", "<html></html>", "<html><body><p>hi</p></body></html>", "{}"],
    )
    def test_what_is_no_export(self, one: Any, text: str) -> None:
        with pytest.raises(ValidationFailed, match=r"messages\.html"):
            one(text=text)

    def test_a_page_that_is_cut_off(self, one: Any) -> None:
        whole = page([Html(n, T0) for n in range(1, 50)])
        for end in (len(whole) // 2, len(whole) - 25):
            with pytest.raises(ValidationFailed, match="cut off"):
                one(text=whole[:end])

    def test_an_export_without_messages_is_one(self, one: Any) -> None:
        assert one(text=page([])).messages.is_empty()

    @pytest.mark.parametrize(
        ("title", "code"),
        [
            ("yesterday", "bad_date"),
            ("31.02.2025 10:00:00 UTC+00:00", "bad_date"),
            ("01.01.1970 10:00:00 UTC+00:00", "bad_date"),
            ("01.01.2025 24:00:00 UTC+00:00", "bad_date"),
            ("01.01.2025 10:00:00 UTC+99:00", "bad_date"),
        ],
    )
    def test_a_message_without_a_date(self, one: Any, title: str, code: str) -> None:
        said = page([Html(1, T0), Html(2, T0 + 1)])
        shown = re.findall(r'title="([^"]*)"', said)[1]
        assert one(text=said.replace(shown, title)).codes() == [code]

    def test_a_text_that_is_too_long(self, one: Any) -> None:
        found = one(Html(1, T0), Html(2, T0, "x" * 100_001))
        assert (found.messages.height, found.codes()) == (1, ["oversized_text"])

    def test_bytes_that_are_no_utf8_are_kept_as_they_are(self, one: Any) -> None:
        text = page([Html(0, 0, raw='<div class="message default" id="x">\udcff</div>')])
        found = one(text=text)
        kept = found.unreadable.row(0, named=True)["text"]
        assert b"\xff" in base64.b64decode(kept.removeprefix("base64:"))

    def test_bytes_that_are_no_utf8_in_a_text_are_replaced(self, one: Any) -> None:
        found = one(text=page([Html(1, T0, "a\udcffb")]))
        assert found.only("text") == "a�b"


def by_id(found: Read) -> list[tuple[int, str]]:
    return found.messages.select("message_id", "text").rows()


FORGED = '<div class="message default" id="message66"><div class="body">forged</div></div>'


class TestHostile:
    @pytest.mark.parametrize(
        "around",
        [
            ("<!--", "-->"),
            ("<script>", "</script>"),
            ("<style>", "</style>"),
            ("<textarea>", "</textarea>"),
            ("<template>", "</template>"),
            ("<SCRIPT >", "</ScRipt >"),
        ],
    )
    def test_what_is_hidden_is_no_message(self, one: Any, around: tuple[str, str]) -> None:
        forged = page([Html(66, T0, "forged")]).split('<div class="history">')[1].split("<")
        hidden = around[0] + "<".join(forged[:-5]).strip() + around[1]
        found = one(Html(1, T0, "a"), Html(0, 0, raw=hidden), Html(2, T0, "b"))
        assert by_id(found) == [(1, "a"), (2, "b")]

    @pytest.mark.parametrize("opened", ["<!--", "<script>", "<style>", "<plaintext>"])
    def test_what_hides_all_the_rest_is_said(self, one: Any, opened: str) -> None:
        with pytest.raises(ValidationFailed, match="never closed"):
            one(Html(1, T0), Html(2, T0, f"a {opened}"), Html(3, T0))

    def test_a_script_in_a_text_is_no_text(self, one: Any) -> None:
        found = one(Html(1, T0, f"a<script>{MINT}</script><style>x</style><!-- y -->b"))
        assert found.only("text") == "ab"

    @pytest.mark.parametrize(
        "markup",
        [
            "<div>",
            "</div></div></div>",
            "<b>",
            "<a href='x'>",
            "<table>",
            "<select>",
            "<svg>",
            "<p>",
        ],
    )
    def test_damage_stays_in_its_message(self, one: Any, markup: str) -> None:
        found = one(Html(1, T0, "a"), Html(2, T0, f"b{markup}"), Html(3, T0, "c"), Html(4, T0, "d"))
        assert [text for n, text in by_id(found) if n != 2] == ["a", "c", "d"]
        links = found.messages.filter(pl.col("message_id") > 2)["entities_json"].to_list()
        assert links == ["[]", "[]"]

    @pytest.mark.parametrize(
        "written",
        [
            '<div id="message1" class="message default">',
            "<div class='message default' id='message1'>",
            '<DIV CLASS="message default" ID="message1">',
            '<div  class = "message default"\n id = "message1">',
        ],
    )
    def test_tags_may_be_written_otherwise(self, one: Any, written: str) -> None:
        text = page([Html(1, T0, "a"), Html(2, T0, "b")])
        text = text.replace('<div class="message default clearfix" id="message1">', written)
        assert by_id(one(text=text)) == [(1, "a"), (2, "b")]

    def test_entities_of_ones_own_do_not_expand(self, one: Any) -> None:
        bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
        found = one(text=bomb + page([Html(1, T0, "&b;" * 1000)]))
        assert found.only("text") == "&b;" * 1000

    @pytest.mark.parametrize("tag", ["<b>", "<div>", "<a>", "<b x=%d>", "<table><tr><td>"])
    def test_a_hundred_thousand_nested_tags(self, one: Any, tag: str) -> None:
        nested = "".join(tag.replace("%d", str(n)) for n in range(100_000))
        begun = time.perf_counter()
        found = one(Html(1, T0, "a"), Html(2, T0, nested), Html(3, T0, "b"))
        assert by_id(found) == [(1, "a"), (3, "b")]
        assert found.codes() == ["unknown_shape"]
        assert time.perf_counter() - begun < 5

    def test_as_many_tags_as_a_message_may_have_are_read_in_time(self, one: Any) -> None:
        nested = "".join(f"<b x={n}>" for n in range(html_structure.MAX_TAGS - 20))
        begun = time.perf_counter()
        assert one(Html(1, T0, nested + "x")).only("text") == "x"
        assert time.perf_counter() - begun < 2

    def test_a_record_over_the_limit_is_read_past(self, one: Any) -> None:
        found = one(
            Html(1, T0, "a"),
            Html(2, T0, "x" * 3_000_000),
            Html(3, T0, "b"),
            max_record_bytes=1_500_000,
        )
        assert by_id(found) == [(1, "a"), (3, "b")]
        row = found.unreadable.row(0, named=True)
        assert row["error_code"] == "oversized_record"
        assert "3000" in row["error_reason"]
        assert len(row["text"]) == 1 << 20

    @pytest.mark.parametrize(
        "mib", [12, pytest.param(200, marks=pytest.mark.nightly)], ids=["12MiB", "200MiB"]
    )
    def test_a_large_page_is_read_in_bounded_memory(self, tmp_path: Path, mib: int) -> None:
        path = tmp_path / "messages.html"
        number = 0
        with path.open("w") as file:
            file.write(HEAD.replace("{title}", "group"))
            while file.tell() < mib << 20:
                chunk = page([Html(number + n, T0, "x" * 300) for n in range(1, 501)])
                file.write(chunk.split('<div class="history">')[1].removesuffix(TAIL))
                number += 500
            file.write(TAIL)
        (tmp_path / "work").mkdir()
        tracemalloc.start()
        export = HtmlExport([path], tmp_path / "work", options=CHAT)
        read = sum(batch.messages.height for batch in export.batches())
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert read == number
        assert peak < 96 << 20


MARKUP = st.text(alphabet="<>/=\"'!- abdivclsmessagetxr&;#\n\0", max_size=60)
TAGS = st.sampled_from(
    [
        "<div>",
        "</div>",
        "<b>",
        "</b>",
        "<a>",
        "</a>",
        "<!--",
        "-->",
        "<script>",
        "</script>",
        "<table>",
        "</body>",
        "<textarea>",
        "<br>",
        "<p>",
        "</textarea>",
        "<svg>",
        "<template>",
        "&amp;",
        "\x00",
        "<![CDATA[",
        '<div class="message default" id="message5">',
        '<div class="text">',
    ]
)
MANGLED = st.lists(st.one_of(MARKUP, TAGS), max_size=8).map("".join)
RELAXED = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@RELAXED
@given(junk=MANGLED, at=st.floats(0, 1))
def test_mangled_markup_is_read_or_refused(one: Any, junk: str, at: float) -> None:
    whole = page([Html(n, T0, "x <b>y</b>") for n in range(1, 6)])
    place = int(at * len(whole))
    try:
        found = one(text=whole[:place] + junk + whole[place:])
    except ValidationFailed:
        return
    assert found.messages["message_id"].is_not_null().all()
    assert set(found.codes()) <= {"missing_id", "bad_date", "unknown_shape"}


@RELAXED
@given(texts=st.lists(MANGLED, min_size=1, max_size=4))
def test_reading_together_reads_what_reading_one_by_one_does(
    one: Any, texts: list[str], tmp_path: Path
) -> None:
    messages = [Html(n, T0, text) for n, text in enumerate(texts, start=1)]
    outcomes = []
    for quick in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            if not quick:
                patch.setattr(html_structure.PageReader, "_quick", lambda _: None)
            try:
                found = one(*messages)
                rows = found.messages.select("message_id", "text", "entities_json").rows()
                outcomes.append((rows, found.codes()))
            except ValidationFailed as error:
                outcomes.append((str(error), []))
    assert outcomes[0] == outcomes[1]


WRITTEN = st.lists(
    st.sampled_from(
        [
            "gm ",
            "é💀",
            "<br>",
            "\r\n",
            "\u00a0",
            "\x01",
            "&amp;lt;",
            "&quot;&apos;",
            '"\\',
            ">",
            "<strong>a &lt; b</strong>",
            "<code><br>x</code>",
            "<em></em>",
            "<s><u>x</u></s>",
            "<pre><br>x</pre>",
            '<a href="https://x.io/?a=1&amp;b">https://x.io/?a=1&amp;b</a>',
            '<a href = "stickers/s (1).webp">🌐</a>',
            '<a href="" onclick="return ShowCashtag(&quot;A&quot;)">$A</a>',
            '<a href="https://t.me/ann">@ann</a>',
        ]
    ),
    max_size=6,
).map("".join)
BUTTONS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                'href="https://x.io/?a&amp;b"',
                'href="x&quot;\\\ty"',
                'href=""',
                'onclick="return ShowTextCopied(&apos;Data: refr:1762516800:1&apos;);"',
                'onclick="return ShowTextCopied(&apos;Data: refr:17625168001&apos;);"',
            ]
        ),
        st.sampled_from(["Buy", "\u00a0a &amp; &quot;b&quot; ", "\x01", "> x", ""]),
    ),
    max_size=3,
).map(
    lambda buttons: (
        '<table class="bot_buttons_table">\n <tbody>\n <tr>\n <td class="bot_button_row">\n'
        + "".join(
            f'<div class="bot_button">\n <a ="" {how}>\n <div>\n{text}\n </div>\n </a>\n </div>\n'
            for how, text in buttons
        )
        + "</td>\n </tr>\n </tbody>\n </table>\n"
    )
)


@RELAXED
@given(
    said=st.lists(
        st.builds(
            Html,
            message_id=st.integers(1, 9),
            local=st.just(T0),
            markup=WRITTEN,
            name=st.sampled_from([None, "caller_01", "Zoe & Co", "Ann via @pic", "\u00a0"]),
            label=st.sampled_from(["UTC+00:00", "UTC-03:30", "UTC+14:00", "UTC+14:30", "UTC+2"]),
            reply_to=st.sampled_from([None, "#go_to_message3", "#message3"]),
            body=st.one_of(st.just(""), BUTTONS),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_the_template_is_read_as_the_parser_has_it(one: Any, said: list[Html]) -> None:
    outcomes = []
    for quick in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            if not quick:
                patch.setattr(html_structure.PageReader, "_quick", lambda _: None)
            found = one(*said, options=ReadingOptions("label", 5))
            outcomes.append((found.messages.rows(), found.unreadable.rows()))
    assert outcomes[0] == outcomes[1]


def test_the_usual_messages_of_an_export_are_of_the_template() -> None:
    page = (sample() / "messages46.html").read_bytes()
    messages = [each.decode() for each in re.split(rb'(?=<div class="message )', page)[1:-1]]
    read = read_template(pl.Series(messages), most_tags=html_structure.MAX_TAGS)
    # Of the rest one is a forward.
    assert read.height > 0.9 * len(messages)
    assert read["buttons"].str.contains("button").sum() > 5


PLAIN = st.text(
    alphabet=st.one_of(st.sampled_from("<>&\"'\n \t"), st.characters(codec="utf-8")), max_size=40
)


@RELAXED
@given(text=PLAIN, name=PLAIN)
def test_text_comes_out_as_it_was_written(one: Any, text: str, name: str) -> None:
    shown = "".join(c for c in text if c.isprintable() or c == "\n").strip(" \n")
    written = html.escape(shown).replace("\n", "<br>").replace("&#x27;", "&apos;")
    found = one(Html(1, T0, written), Html(2, T0, f"<b></b>{written}"))
    assert found.messages["text"].to_list() == [shown, shown]
