"""Messages of the group that a supergroup was before, and replies that only name a topic."""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from quantlab_assets.adapters.telegram.export_folder import ReadingOptions
from quantlab_assets.adapters.telegram.html.export import HtmlExport
from quantlab_tests.adapters.telegram.html.pages import Html, write

T0 = int(datetime(2025, 11, 7, 12, tzinfo=UTC).timestamp())


def read(tmp_path: Path, *pages: list[Html]) -> pl.DataFrame:
    paths = [
        write(tmp_path / f"messages{n if n > 1 else ''}.html", said)
        for n, said in enumerate(pages, 1)
    ]
    export = HtmlExport(paths, tmp_path, options=ReadingOptions(chat_id=5))
    batches = list(export.batches())
    assert all(batch.unreadable.is_empty() for batch in batches)
    return pl.concat(batch.messages for batch in batches)


def service(message_id: int) -> Html:
    return Html(
        0,
        0,
        raw=f'<div class="message service" id="message{message_id}"><div class="body details">\n'
        "Ann created topic calls\n</div></div>\n",
    )


@pytest.mark.parametrize("message_id", [-999_999_999, -999_999_990, -998_765_432])
@pytest.mark.parametrize("body", ["", "<p>not of the template</p>"])
def test_negative_ids_are_messages_and_can_be_answered(
    tmp_path: Path, message_id: int, body: str
) -> None:
    target = f"#go_to_message{message_id}"
    answers = [Html(2, T0 + 9, reply_to=target), Html(3, T0 + 9, reply_to=target, body=body)]
    found = read(tmp_path, [Html(message_id, T0, body=body), *answers])
    assert found["message_id"].to_list() == [message_id, 2, 3]
    assert found["reply_to_message_id"].to_list() == [None, message_id, message_id]
    assert found["reply_to_service"].to_list() == [None, False, False]


def test_service_messages_of_the_old_group_count_and_separators_of_days_do_not(
    tmp_path: Path,
) -> None:
    said = [
        service(-1),
        Html(-999_999_990, T0),
        service(-999_999_988),
        service(-4_000),
        Html(1, T0),
    ]
    found = read(tmp_path, said)
    assert found["message_id"].to_list() == [-999_999_990, -999_999_988, 1]
    assert found["is_service"].to_list() == [False, True, False]


@pytest.mark.parametrize("topic", [4, -999_999_000])
@pytest.mark.parametrize("link", ["#go_to_message{}", "messages.html#go_to_message{}"])
def test_a_reply_to_a_service_message_is_known_across_pages(
    tmp_path: Path, topic: int, link: str
) -> None:
    answer = Html(8, T0, reply_to=link.format(topic))
    found = read(tmp_path, [service(topic), Html(7, T0), answer], [Html(9, T0), answer])
    told = dict(found.select("message_id", "reply_to_service").iter_rows())
    assert told[8] is True
    assert told[7] is told[9] is None


def test_a_target_that_is_not_exported_is_no_service_message(tmp_path: Path) -> None:
    found = read(tmp_path, [service(4), Html(7, T0, reply_to="#go_to_message3")])
    assert found["reply_to_service"].to_list() == [None, False]
