"""The store does what a store in dictionaries does, whatever is done to it in whatever order.

Besides the operations of the port, the real store's garbage is collected, its process dies in the
middle of a publish, and it is opened anew: none of which its model knows of.
"""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from quantlab_assets.adapters.upkeep.audit import audit
from quantlab_assets.domain.artifacts.records import (
    ArtifactFilter,
    HeadReplacement,
    LineageInput,
    PartitionRef,
)
from quantlab_assets.domain.errors import QuantlabError
from quantlab_assets.ports.artifact_store import ArtifactStore
from quantlab_tests.adapters.artifact_store.lakes import TYPES, note, open_lake, stepwise_lake
from quantlab_tests.adapters.artifact_store.operations import collect_all
from quantlab_tests.in_memory.artifact_store import InMemoryArtifactStore

CHATS = st.integers(1, 3)
TEXTS = st.sampled_from(["gm", "wen", "\u202eedit", ""])
DAYS = st.sampled_from([PartitionRef("notes", "a"), PartitionRef("notes", "b")])


class Died(BaseException):
    """The process is no more."""


class StoreAndModel(RuleBasedStateMachine):
    """Does everything twice and compares what came of it."""

    def __init__(self) -> None:
        super().__init__()
        parent = "/dev/shm" if Path("/dev/shm").is_dir() else None
        self.folder = Path(tempfile.mkdtemp(dir=parent))
        self.store = open_lake(self.folder, create=True)
        self.model = InMemoryArtifactStore(TYPES)
        self.ids: list[str] = []

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def both(self, do: Callable[[ArtifactStore], Any]) -> Any:
        """The outcome, which must be the same in both: a value, or the class of an error."""
        outcomes = []
        for store in (self.store, self.model):
            try:
                outcomes.append(do(store))
            except QuantlabError as error:
                outcomes.append(type(error).__name__)
        assert outcomes[0] == outcomes[1]
        return outcomes[0]

    def publish(self, *arguments: Any, **more: Any) -> None:
        def do(store: ArtifactStore) -> Any:
            done = store.publish_many(*arguments, **more)
            return [(one.artifact_id, one.deduped, sorted(one.superseded)) for one in done]

        outcome = self.both(do)
        if not isinstance(outcome, str):
            self.ids += [one for one, _, _ in outcome if one not in self.ids]

    @rule(chat=CHATS, text=TEXTS)
    def publish_one(self, chat: int, text: str) -> None:
        self.publish([note(chat, text)])

    @rule(chats=st.lists(CHATS, max_size=3), text=TEXTS, day=DAYS)
    def replace_a_head(self, chats: list[int], text: str, day: PartitionRef) -> None:
        requests = [replace(note(chat, text), head=day) for chat in chats]
        self.publish(requests, heads=[HeadReplacement(day)])

    @precondition(lambda self: self.ids)
    @rule(data=st.data(), chat=CHATS, text=TEXTS)
    def publish_from_another(self, data: st.DataObject, chat: int, text: str) -> None:
        source = data.draw(st.sampled_from(self.ids))
        inputs = (LineageInput(artifact_id=source),)
        self.publish([replace(note(chat, text), inputs=inputs)])

    @precondition(lambda self: self.ids)
    @rule(data=st.data(), chat=CHATS, text=TEXTS)
    def publish_if_active(self, data: st.DataObject, chat: int, text: str) -> None:
        expected = data.draw(st.sampled_from([None, *self.ids]))
        self.publish([replace(note(chat, text), expected_active=expected)])

    @precondition(lambda self: self.ids)
    @rule(data=st.data())
    def supersede(self, data: st.DataObject) -> None:
        new, old = (data.draw(st.sampled_from(self.ids)) for _ in range(2))
        self.both(lambda store: store.supersede(new, old))

    @precondition(lambda self: self.ids)
    @rule(data=st.data())
    def tombstone(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(self.ids))
        self.both(lambda store: store.tombstone(one, "a mistake"))

    @rule()
    def collect(self) -> None:
        collect_all(self.store, self.folder)
        assert audit(self.store).unreferenced == ()
        assert list((self.folder / "staging").iterdir()) == []

    @rule(chat=CHATS, text=TEXTS, last=st.integers(0, 25))
    def die_while_publishing(self, chat: int, text: str, last: int) -> None:
        taken = 0

        def step(name: str) -> None:
            nonlocal taken
            taken += 1
            # The rest of a commit is SQLite's own, which the killed processes test.
            if taken > last or name == "commit":
                raise Died

        try:
            stepwise_lake(self.folder, step).publish_artifact(note(chat, text))
        except (Died, QuantlabError):
            pass
        else:
            self.model.publish_artifact(note(chat, text))
        self.store = open_lake(self.folder)

    @invariant()
    def they_agree(self) -> None:
        assert audit(self.store, threads=1).problems == ()
        assert listed(self.store) == listed(self.model)
        assert heads(self.store) == heads(self.model)
        for one in self.ids:
            assert edges(self.store, one) == edges(self.model, one)


def listed(store: ArtifactStore) -> list[tuple[str, str, str]]:
    found = (*store.list_artifacts().artifacts, *tombstoned(store))
    return [(one.artifact_id, one.status, one.content_hash) for one in found]


def tombstoned(store: ArtifactStore) -> tuple[Any, ...]:
    return store.list_artifacts(ArtifactFilter(status="tombstoned")).artifacts


def heads(store: ArtifactStore) -> dict[str, Any]:
    return {
        day: None if held is None else [one.artifact_id for one in held]
        for day, held in store.get_heads("notes", ["a", "b"]).items()
    }


def edges(store: ArtifactStore, artifact_id: str) -> list[tuple[str, str, int]]:
    found = store.get_lineage(artifact_id, all_publications=True).edges
    return sorted((one.artifact_id, one.input_id, one.depth) for one in found)


class TestStoreAndModel(StoreAndModel.TestCase):  # type: ignore[misc, valid-type]
    settings = settings(
        max_examples=4,
        stateful_step_count=14,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )


@pytest.mark.nightly
class TestStoreAndModelLong(StoreAndModel.TestCase):  # type: ignore[misc, valid-type]
    settings = settings(
        max_examples=150,
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
