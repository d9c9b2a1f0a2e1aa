"""Publishes finished partitions while the next ones are computed."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Final

from quantlab_assets.domain.errors import StoreUnavailable
from quantlab_assets.handlers.publish_partition import (
    FinishedPartition,
    PublishedPartition,
    publish_partitions,
)
from quantlab_assets.ports.artifact_store import ArtifactStore

TOGETHER: Final = 64
"""How many partitions one transaction publishes at most."""
ROWS: Final = 500_000
"""How many rows wait, or are published together, at most; a larger partition goes by itself."""


class BackgroundPublisher:
    """One thread that publishes whatever waits, in one transaction.

    A partition is begun at once if nothing else is being written, so little is lost when a slow run
    dies; behind a slow disk partitions gather, and share what a transaction costs. A group that is
    refused is published one by one, so that each partition has its own result.
    """

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store
        self._waiting: deque[tuple[FinishedPartition, Future[PublishedPartition]]] = deque()
        self._thread = ThreadPoolExecutor(1, "publish")

    def __enter__(self) -> "BackgroundPublisher":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._thread.shutdown()

    @property
    def is_full(self) -> bool:
        """Whether the next partition should wait until some are published."""
        return len(self._waiting) >= TOGETHER or sum(map(_rows, list(self._waiting))) >= ROWS

    def put(self, partition: FinishedPartition) -> Future[PublishedPartition]:
        """Let a partition be published; its future holds what became of it."""
        future: Future[PublishedPartition] = Future()
        self._waiting.append((partition, future))
        self._thread.submit(self._publish_waiting)
        return future

    def _publish_waiting(self) -> None:
        group: list[tuple[FinishedPartition, Future[PublishedPartition]]] = []
        rows = 0
        while self._waiting and len(group) < TOGETHER:
            rows += _rows(self._waiting[0])
            if group and rows > ROWS:
                break
            group.append(self._waiting.popleft())
        if group:
            self._publish(group)

    def _publish(self, group: list[tuple[FinishedPartition, Future[PublishedPartition]]]) -> None:
        try:
            published = publish_partitions(self._store, [partition for partition, _ in group])
        except BaseException as error:
            if len(group) == 1 or isinstance(error, StoreUnavailable | MemoryError):
                for _, future in group:
                    future.set_exception(error)
                return
            for partition_alone in group:
                self._publish([partition_alone])
            return
        for (_, future), result in zip(group, published, strict=True):
            future.set_result(result)


def _rows(waiting: tuple[FinishedPartition, Future[PublishedPartition]]) -> int:
    return sum(draft.table.num_rows for draft in waiting[0].output.drafts)
