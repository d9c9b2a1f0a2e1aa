"""Partitions that wait while one is written are published together; each has its own result."""

from threading import Event

import pytest

from quantlab_assets.defs.data.background_publisher import TOGETHER, BackgroundPublisher
from quantlab_assets.domain.artifacts.records import PartitionOutput, PartitionRef
from quantlab_assets.domain.errors import StoreUnavailable, ValidationFailed
from quantlab_assets.handlers.publish_partition import FinishedPartition
from quantlab_tests.handlers.test_publish_partition import BY, draft
from quantlab_tests.in_memory.artifact_store import InMemoryArtifactStore

DAYS = [f"2025-11-{day:02}" for day in range(1, 8)]


class SlowStore(InMemoryArtifactStore):
    """Notes what is published together; the first transaction waits for `go`."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go = Event(), Event()
        self.together: list[list[str]] = []
        self.down = False

    def publish_many(self, requests, *, heads=()):
        self.together.append([head.ref.partition for head in heads])
        self.begun.set()
        assert self.go.wait(30)
        if self.down:
            raise StoreUnavailable("the disk is full")
        return super().publish_many(requests, heads=heads)


def partition(day: str, key: str | None = None) -> FinishedPartition:
    output = PartitionOutput((draft({day}, key or f"day={day}"),))
    return FinishedPartition(PartitionRef("words", day), output, (), BY)


@pytest.fixture
def store() -> SlowStore:
    return SlowStore()


def test_what_waits_is_published_together(store: SlowStore) -> None:
    with BackgroundPublisher(store) as publisher:
        first = publisher.put(partition(DAYS[0]))
        assert store.begun.wait(30)
        waiting = [publisher.put(partition(day)) for day in DAYS[1:]]
        store.go.set()
        results = [future.result(30) for future in (first, *waiting)]
    assert store.together == [DAYS[:1], DAYS[1:]]
    assert [result.ref.partition for result in results] == DAYS
    heads = store.get_heads("words", DAYS)
    assert [heads[day] for day in DAYS] == [result.artifacts for result in results]


def test_one_that_is_refused_does_not_hold_up_those_it_waited_with(store: SlowStore) -> None:
    with BackgroundPublisher(store) as publisher:
        publisher.put(partition(DAYS[0]))
        assert store.begun.wait(30)
        bad = publisher.put(partition(DAYS[1], key="no key"))
        good = publisher.put(partition(DAYS[2]))
        store.go.set()
        with pytest.raises(ValidationFailed, match="no key"):
            bad.result(30)
        assert good.result(30).artifacts == store.get_heads("words", DAYS)[DAYS[2]]


def test_what_fails_alike_for_all_is_not_tried_one_by_one(store: SlowStore) -> None:
    store.down = True
    with BackgroundPublisher(store) as publisher:
        futures = [publisher.put(partition(DAYS[0]))]
        assert store.begun.wait(30)
        futures += [publisher.put(partition(day)) for day in DAYS[1:]]
        store.go.set()
        for future in futures:
            with pytest.raises(StoreUnavailable, match="the disk is full"):
                future.result(30)
    assert len(store.together) == 2


def test_it_is_full_before_too_much_waits(store: SlowStore) -> None:
    with BackgroundPublisher(store) as publisher:
        publisher.put(partition(DAYS[0]))
        assert store.begun.wait(30)
        for _ in range(TOGETHER):
            assert not publisher.is_full
            publisher.put(partition(DAYS[1]))
        assert publisher.is_full
        store.go.set()
