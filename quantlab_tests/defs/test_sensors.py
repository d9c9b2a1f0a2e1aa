"""The inbox sensors over a real lake and real folders, tick by tick."""

import os
import shutil
from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from quantlab_assets.definitions import build_defs
from quantlab_assets.defs.schedules import daily_ingestion, days_to_refresh
from quantlab_assets.defs.sensors import candle_tick, inbox_sensors, telegram_tick
from quantlab_tests.adapters.telegram.html.pages import Html, write
from quantlab_tests.defs.watched import (
    FIRST,
    LATER,
    SECOND,
    Watched,
    at,
    candle_file,
    export,
    ingest,
    say,
)
from quantlab_tests.domain.telegram.alerts.chat_log import MINT, OTHER_MINT


@pytest.fixture
def watched(tmp_path: Path, instance: dg.DagsterInstance) -> Watched:
    return Watched(tmp_path / "lake", instance)


def test_an_export_runs_its_days_and_the_day_before_each(watched: Watched):
    assert ingest(watched, FIRST, SECOND, LATER) == [
        ("2025-11-02", "2025-11-04"),
        ("2025-11-08", "2025-11-09"),
    ]
    days = watched.lake.lake.store.list_head_partitions("alerts")
    assert days == ["2025-11-02", "2025-11-03", "2025-11-04", "2025-11-08", "2025-11-09"]


def test_a_grown_export_runs_only_the_days_it_changes(watched: Watched):
    ingest(watched, FIRST, SECOND, LATER)
    late = say("2025-11-09", 4, "late", hour="13:00")
    assert ingest(watched, FIRST, SECOND, LATER, late) == [("2025-11-08", "2025-11-09")]


def test_what_the_lake_holds_already_causes_no_run_under_whatever_name(watched: Watched):
    ingest(watched, FIRST, LATER)
    (watched.telegram / "copy.json").write_text(export(FIRST, LATER))
    (watched.telegram / "part.json").write_text(export(FIRST, LATER).replace("group", "group"))
    assert watched.settle("telegram") == []
    watched.memory["telegram"] = {}
    assert watched.settle("telegram") == []


def test_a_file_without_the_earlier_messages_takes_nothing_away(watched: Watched):
    ingest(watched, FIRST, SECOND)
    assert ingest(watched, SECOND) == []


def test_a_half_written_export_is_left_alone_until_it_is_whole(watched: Watched):
    text = export(FIRST)
    file = watched.telegram / "chat.json"
    file.write_text(text[:60])
    assert watched.tick("telegram").ranges == ()
    file.write_text(text)
    decision = watched.tick("telegram")
    assert (decision.ranges, decision.refused) == ((), ())
    assert len(watched.tick("telegram").ranges) == 1


def test_a_poisoned_file_is_refused_with_a_reason_and_the_graph_goes_on(watched: Watched):
    (watched.telegram / "a.json").write_text('{"milk": 2}')
    (watched.telegram / "b.json").write_text("[" * 100_000)
    (watched.telegram / "chat.json").write_text(export(FIRST))
    watched.tick("telegram")
    decision = watched.tick("telegram")
    assert [refusal.file.path for refusal in decision.refused] == ["a.json", "b.json"]
    assert all(refusal.reason for refusal in decision.refused)
    watched.run("ingestion", [("2025-11-03", "2025-11-03")])
    assert watched.lake.lake.store.get_heads("alerts", ["2025-11-03"])["2025-11-03"]
    assert watched.tick("telegram").refused == ()


def test_links_that_lead_nowhere_or_to_themselves_hold_up_nothing(watched: Watched):
    for inbox, suffix in ((watched.telegram, "json"), (watched.candles, "csv")):
        (inbox / f"loop.{suffix}").symlink_to(inbox / f"loop.{suffix}")
        (inbox / f"gone.{suffix}").symlink_to(inbox / f"nowhere.{suffix}")
    assert ingest(watched, FIRST) == [("2025-11-02", "2025-11-03")]
    candle_file(watched.candles / f"solana_{MINT}_1_2.csv", at("2025-11-03"), 1440)
    assert watched.settle("candles") == [("2025-11-03", "2025-11-03")]


def test_an_export_that_may_not_be_read_does_not_hold_up_the_others(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
):
    (watched.telegram / "a.json").write_text(export(LATER))
    (watched.telegram / "chat.json").write_text(export(FIRST))
    watched.tick("telegram")
    opened = Path.open

    def refusing(path: Path, *arguments: object, **named: object) -> object:
        if path.name == "a.json":
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments, **named)

    monkeypatch.setattr(Path, "open", refusing)  # a mode would not stop root
    decision = watched.tick("telegram")
    assert [refusal.file.path for refusal in decision.refused] == ["a.json"]
    assert "may not be read" in decision.refused[0].reason
    assert [str(each.last) for each in decision.ranges] == ["2025-11-03"]


def test_a_refused_export_that_is_mended_runs_its_days(watched: Watched):
    (watched.telegram / "chat.json").write_text(export(FIRST)[:-10])
    watched.settle("telegram")
    (watched.telegram / "chat.json").write_text(export(FIRST))
    assert watched.settle("telegram") == [("2025-11-02", "2025-11-03")]


def test_a_tick_that_has_read_long_enough_leaves_the_rest_to_the_next(watched: Watched):
    (watched.telegram / "a.json").write_text(export(FIRST))
    (watched.telegram / "b.json").write_text(export(LATER))
    watched.tick("telegram")
    clock = iter([0.0, 1.0, 100.0])
    decision = telegram_tick(watched.lake, watched.memory["telegram"], lambda: next(clock))
    assert [str(each.last) for each in decision.ranges] == ["2025-11-03"]
    watched.memory["telegram"] = dict(decision.memory)
    assert [str(each.last) for each in watched.tick("telegram").ranges] == ["2025-11-09"]


def test_candles_run_the_days_that_call_their_token(watched: Watched):
    ingest(watched, FIRST, SECOND, LATER)
    candle_file(watched.candles / f"solana_{MINT}_1_2.csv", at("2025-11-03"), 1440)
    assert watched.settle("candles") == [("2025-11-03", "2025-11-03")]


def test_candles_outside_the_windows_of_all_calls_cause_no_run(watched: Watched):
    ingest(watched, FIRST)
    file = watched.candles / f"solana_{MINT}_1_2.csv"
    candle_file(file, at("2025-11-03"), 1440)
    watched.run("slices_and_coverage", watched.settle("candles"))
    candle_file(watched.candles / f"solana_{MINT}_3_4.csv", at("2025-12-03"), 100)
    assert watched.settle("candles") == []
    candle_file(watched.candles / f"solana_{OTHER_MINT}_1_2.csv", at("2025-11-03"), 100)
    assert watched.settle("candles") == []


def test_changed_candles_run_the_day_again_and_the_same_ones_do_not(watched: Watched):
    ingest(watched, FIRST)
    file = watched.candles / f"solana_{MINT}_1_2.csv"
    candle_file(file, at("2025-11-03"), 1440)
    watched.run("slices_and_coverage", watched.settle("candles"))
    shutil.copyfile(file, watched.candles / f"solana_{MINT}_5_6.csv")
    assert watched.settle("candles") == []
    candle_file(file, at("2025-11-03"), 1500)
    assert watched.settle("candles") == [("2025-11-03", "2025-11-03")]


def test_candles_that_change_back_are_a_request_of_their_own(watched: Watched):
    ingest(watched, FIRST)
    file = watched.candles / f"solana_{MINT}_1_2.csv"
    keys = []
    for price, written in ((1.0, 1), (2.0, 2), (1.0, 3)):
        candle_file(file, at("2025-11-03"), 1440, price=price)
        os.utime(file, (written, written))
        watched.tick("candles")
        (asked,) = watched.tick("candles").ranges
        keys.append(asked.run_key)
        watched.run("slices_and_coverage", [(str(asked.first), str(asked.last))])
    assert len(set(keys)) == 3


def test_a_candle_tick_that_has_compared_long_enough_leaves_the_rest_to_the_next(watched: Watched):
    ingest(watched, FIRST, LATER)
    candle_file(watched.candles / f"solana_{MINT}_1_2.csv", at("2025-11-03"), 1440)
    candle_file(watched.candles / f"solana_{OTHER_MINT}_1_2.csv", at("2025-11-09"), 1440)
    watched.tick("candles")
    clock = iter([0.0, 100.0])
    first = candle_tick(watched.lake, watched.memory["candles"], lambda: next(clock))
    watched.memory["candles"] = dict(first.memory)
    asked = [*first.ranges, *watched.tick("candles").ranges]
    assert len(first.ranges) == 1
    assert sorted(str(each.last) for each in asked) == ["2025-11-03", "2025-11-09"]


def test_a_candle_file_without_candles_is_refused_with_a_reason(watched: Watched):
    ingest(watched, FIRST)
    (watched.candles / "notes.csv").write_text("dear diary\n")
    candle_file(watched.candles / f"solana_{MINT}_1_2.csv", at("2025-11-03"), 1440)
    watched.tick("candles")
    decision = watched.tick("candles")
    assert [refusal.file.path for refusal in decision.refused] == ["notes.csv"]
    assert len(decision.ranges) == 1


def test_a_name_table_gives_refused_candle_files_another_chance(watched: Watched):
    ingest(watched, FIRST)
    candle_file(watched.candles / "mine.csv", at("2025-11-03"), 1440)
    watched.tick("candles")
    assert len(watched.tick("candles").refused) == 1
    (watched.candles / "tokens.csv").write_text(f"mine.csv,{MINT},solana\n")
    assert watched.settle("candles") == []
    assert [str(each.last) for each in watched.tick("candles").ranges] == ["2025-11-03"]


def test_the_sensor_records_refusals_once_and_asks_for_one_run_a_range(watched: Watched):
    (watched.telegram / "a.json").write_text('{"milk": 2}')
    (watched.telegram / "chat.json").write_text(export(FIRST, LATER))
    sensor = inbox_sensors()[0]
    cursor = None
    results = []
    for _ in range(3):
        with dg.build_sensor_context(
            instance=watched.instance, cursor=cursor, resources={"lake": watched.lake}
        ) as context:
            result = sensor(context)
        assert isinstance(result, dg.SensorResult)
        cursor = result.cursor
        results.append(result)
    assert results[0].skip_reason.skip_message == "2 files have yet to settle"
    assert [request.tags for request in results[1].run_requests] == [
        {
            "dagster/asset_partition_range_start": first,
            "dagster/asset_partition_range_end": last,
        }
        for first, last in [("2025-11-02", "2025-11-03"), ("2025-11-08", "2025-11-09")]
    ]
    assert results[2].skip_reason.skip_message == "nothing new in the inbox"
    (quarantined,) = watched.lake.lake.ingestion.file_quarantine.list()
    assert quarantined.path == "telegram/a.json"
    assert quarantined.reason


def test_the_sensor_says_which_days_are_no_partitions(watched: Watched):
    (watched.telegram / "chat.json").write_text(export(say("2019-06-01", 1, MINT)))
    cursor = None
    for _ in range(2):
        with dg.build_sensor_context(
            instance=watched.instance, cursor=cursor, resources={"lake": watched.lake}
        ) as context:
            result = inbox_sensors()[0](context)
        assert isinstance(result, dg.SensorResult)
        cursor = result.cursor
    assert result.skip_reason.skip_message.startswith(
        "1 days of new files, 2019-06-01 to 2019-06-01, are left out: the graph's days run from "
        "2020-01-01 to "
    )


def test_every_sensor_and_schedule_is_off_until_switched_on():
    defs = build_defs()
    assert all(s.default_status.value == "STOPPED" for s in defs.sensors)
    assert all(s.default_status.value == "STOPPED" for s in defs.schedules)


def test_the_daily_run_takes_yesterday_and_the_days_whose_horizon_has_ended():
    assert days_to_refresh(date(2025, 11, 10)) == (date(2025, 11, 7), date(2025, 11, 9))


def test_the_daily_schedule_asks_for_those_days_as_one_run():
    context = dg.build_schedule_context(scheduled_execution_time=at("2025-11-10", 3))
    request = daily_ingestion(context)
    assert isinstance(request, dg.RunRequest)
    assert (request.run_key, list(request.tags.values())) == (
        "2025-11-10",
        ["2025-11-07", "2025-11-09"],
    )


def pages(folder: Path, *days: str) -> None:
    """An HTML export with a message on each day, each on a page of its own."""
    for number, day in enumerate(days, start=1):
        name = f"messages{'' if number == 1 else number}.html"
        write(folder / name, [Html(number, int(at(day).timestamp()), MINT)])


def test_pages_that_still_arrive_are_left_alone_and_then_are_one_export(watched: Watched):
    folder = watched.telegram / "ChatExport"
    pages(folder, "2025-11-02")
    watched.tick("telegram")
    pages(folder, "2025-11-02", "2025-11-05")
    assert watched.tick("telegram").ranges == ()
    ranges = [(str(each.first), str(each.last)) for each in watched.tick("telegram").ranges]
    assert ranges == [("2025-11-01", "2025-11-02"), ("2025-11-04", "2025-11-05")]
    watched.run("ingestion", ranges)
    assert watched.tick("telegram").ranges == ()


def test_a_changed_page_runs_the_changed_days(watched: Watched):
    folder = watched.telegram / "ChatExport"
    pages(folder, "2025-11-02", "2025-11-05")
    watched.run("ingestion", watched.settle("telegram"))
    pages(folder, "2025-11-02", "2025-11-05", "2025-11-09")
    assert watched.settle("telegram") == [("2025-11-08", "2025-11-09")]


def test_a_clock_that_is_told_runs_the_days_that_it_moves(watched: Watched):
    folder = watched.telegram / "ChatExport"
    pages(folder, "2025-11-05")
    watched.run("ingestion", watched.settle("telegram"))
    (folder / "messages.toml").write_text('timezone = "Asia/Tokyo"\n')
    assert watched.settle("telegram") == [("2025-11-03", "2025-11-05")]
