"""What an inbox sensor decides, without a folder, a lake or a clock."""

from datetime import date

from quantlab_assets.domain.days import contiguous
from quantlab_assets.handlers.ingest.inbox_changes import (
    InboxDecision,
    KnownFile,
    ReadFile,
    RefusedFile,
    decide,
    from_cursor,
    reconsidered,
    settled_files,
    to_cursor,
)
from quantlab_assets.ports.inbox import InboxFile

A = InboxFile("a.json", 10, 1)
B = InboxFile("b.json", 20, 2)
SPAN = (date(2020, 1, 1), date(2025, 12, 31))


def day(number: int) -> date:
    return date(2025, 11, number)


def seen(*files: InboxFile) -> dict[str, KnownFile]:
    """The memory after a tick that saw the files for the first time."""
    return dict(tick({}, list(files)).memory)


def tick(
    memory: dict[str, KnownFile],
    listing: list[InboxFile],
    read: list[ReadFile] | None = None,
    refused: list[RefusedFile] | None = None,
    *,
    day_before: bool = False,
) -> InboxDecision:
    return decide(memory, listing, read or [], refused or [], span=SPAN, day_before=day_before)


def ranges(decision: InboxDecision) -> list[tuple[date, date]]:
    return [(each.first, each.last) for each in decision.ranges]


def test_a_file_seen_for_the_first_time_is_left_alone():
    assert settled_files({}, [A]) == ()


def test_a_file_that_stayed_the_same_between_two_ticks_is_read():
    assert settled_files(seen(A), [A]) == (A,)


def test_a_file_that_grows_or_is_written_again_is_left_for_the_next_tick():
    assert settled_files(seen(A), [InboxFile("a.json", 11, 1)]) == ()
    assert settled_files(seen(A), [InboxFile("a.json", 10, 2)]) == ()


def test_a_settled_file_runs_its_days_contiguous_ones_at_once():
    decision = tick(seen(A), [A], [ReadFile(A, "x", (day(3), day(4), day(9)))])
    assert ranges(decision) == [(day(3), day(4)), (day(9), day(9))]


def test_the_day_before_runs_too_for_replies_after_midnight():
    decision = tick(seen(A), [A], [ReadFile(A, "x", (day(3), day(5)))], day_before=True)
    assert ranges(decision) == [(day(2), day(5))]


def test_days_that_are_no_partitions_are_left_out():
    read = ReadFile(A, "x", (date(2019, 12, 31), date(2020, 1, 1), date(2026, 1, 1)))
    decision = tick(seen(A), [A], [read], day_before=True)
    assert ranges(decision) == [
        (date(2020, 1, 1), date(2020, 1, 1)),
        (date(2025, 12, 31), date(2025, 12, 31)),
    ]
    assert decision.left_out == (date(2019, 12, 31), date(2026, 1, 1))


def test_a_file_that_was_taken_is_not_read_again():
    memory = dict(tick(seen(A), [A], [ReadFile(A, "x", (day(3),))]).memory)
    assert settled_files(memory, [A]) == ()


def test_the_same_content_under_another_name_causes_no_run():
    memory = dict(tick(seen(A, B), [A, B], [ReadFile(A, "x", (day(3),))]).memory)
    assert ranges(tick(memory, [A, B], [ReadFile(B, "x", (day(3),))])) == []


def test_two_copies_that_settle_together_are_one_content():
    reads = [ReadFile(A, "x", (day(3),)), ReadFile(B, "x", (day(3),))]
    one = tick(seen(A), [A], reads[:1])
    both = tick(seen(A, B), [A, B], reads)
    assert both.ranges == one.ranges


def test_a_changed_file_is_read_once_it_has_settled_again():
    memory = dict(tick(seen(A), [A], [ReadFile(A, "x", (day(3),))]).memory)
    changed = InboxFile("a.json", 99, 5)
    assert settled_files(memory, [changed]) == ()
    memory = dict(tick(memory, [changed]).memory)
    assert settled_files(memory, [changed]) == (changed,)
    decision = tick(memory, [changed], [ReadFile(changed, "y", (day(4),))])
    assert ranges(decision) == [(day(4), day(4))]


def test_a_file_that_brings_nothing_new_causes_no_run_and_is_done_with():
    decision = tick(seen(A), [A], [ReadFile(A, "x", ())])
    assert ranges(decision) == []
    assert decision.memory["a.json"].verdict == "taken"


def test_a_refused_file_does_not_hold_up_the_others_and_is_not_tried_again():
    decision = tick(
        seen(A, B), [A, B], [ReadFile(B, "y", (day(3),))], [RefusedFile(A, "no export")]
    )
    assert ranges(decision) == [(day(3), day(3))]
    assert decision.refused == (RefusedFile(A, "no export"),)
    assert settled_files(decision.memory, [A, B]) == ()


def test_a_refused_file_is_tried_again_when_what_decides_has_changed():
    memory = tick(seen(A, B), [A, B], [ReadFile(B, "y", ())], [RefusedFile(A, "no")]).memory
    assert settled_files(reconsidered(memory), [A, B]) == (A,)


def test_a_settled_file_that_was_not_got_round_to_is_read_at_the_next_tick():
    memory = tick(seen(A, B), [A, B], [ReadFile(A, "x", ())]).memory
    assert settled_files(memory, [A, B]) == (B,)


def test_a_file_that_is_gone_is_forgotten():
    assert tick(seen(A, B), [B]).memory.keys() == {"b.json"}


def test_the_run_key_names_content_time_of_writing_and_days_only():
    moved, touched = InboxFile("b.json", 10, 1), InboxFile("a.json", 10, 7)
    (one,) = tick(seen(A), [A], [ReadFile(A, "x", (day(3),))]).ranges
    (renamed,) = tick(seen(moved), [moved], [ReadFile(moved, "x", (day(3),))]).ranges
    (again,) = tick(seen(touched), [touched], [ReadFile(touched, "x", (day(3),))]).ranges
    assert one.run_key != again.run_key
    (other,) = tick(seen(A), [A], [ReadFile(A, "y", (day(3),))]).ranges
    assert one.run_key == renamed.run_key
    assert one.run_key != other.run_key
    assert one.run_key.endswith(":2025-11-03..2025-11-03")


def test_the_memory_survives_as_text():
    memory = tick(seen(A, B), [A, B], [ReadFile(A, "x", (day(3),))]).memory
    assert from_cursor(to_cursor(memory)) == memory


def test_a_cursor_of_nothing_or_of_another_version_is_an_empty_memory():
    for cursor in (None, "", "{}", '{"format": 99, "files": {}}', "rubbish", "[]"):
        assert from_cursor(cursor) == {}


def test_days_become_ranges_without_holes():
    assert contiguous([day(9), day(3), day(4), day(3)]) == [(day(3), day(4)), (day(9), day(9))]
    assert contiguous([]) == []
