"""Publishing a partition: heads, loose drafts, and growth that loses no update."""

from collections.abc import Mapping
from dataclasses import replace

import polars as pl
import pytest

from quantlab_assets.domain.artifacts.records import (
    AdditiveOutput,
    ArtifactDraft,
    HeldArtifact,
    LineageInput,
    PartitionOutput,
    PartitionRef,
    Provenance,
    SourceFile,
)
from quantlab_assets.domain.artifacts.seed_types import ALERTS_QUARANTINE
from quantlab_assets.domain.errors import Conflict
from quantlab_assets.handlers.publish_partition import (
    finish_partition,
    publish_partition,
    publish_partitions,
)
from quantlab_tests.in_memory.artifact_store import InMemoryArtifactStore

DAY = PartitionRef("words", "2025-11-07")
BY = Provenance(writer_name="words", writer_version="1", params={"partition": "2025-11-07"})


def source(n: int) -> SourceFile:
    return SourceFile(f"sha256:{n:064x}", f"{n}.json", 1, "telegram_json")


def draft(words: set[str], key: str = "day=2025-11-07", *sources: SourceFile) -> ArtifactDraft:
    rows = [
        {"message_id": n, "text": word, "error_code": "unknown_shape", "error_reason": "test"}
        for n, word in enumerate(sorted(words))
    ]
    frame = pl.DataFrame(rows, schema=pl.DataFrame(ALERTS_QUARANTINE.empty()).schema)
    return ArtifactDraft(
        ALERTS_QUARANTINE.name, key, frame.to_arrow(), sources=sources, params={"rule": 1}
    )


def words_in(held: Mapping[str, HeldArtifact]) -> set[str]:
    return {w for item in held.values() for w in item.table.column("text").to_pylist()}


def adding(word: str, meanwhile=None) -> AdditiveOutput:
    """Adds a word to what is held; `meanwhile` happens between reading and publishing."""

    def build(held: Mapping[str, HeldArtifact]) -> PartitionOutput:
        if meanwhile is not None:
            meanwhile()
        return PartitionOutput((draft(words_in(held) | {word}),))

    return AdditiveOutput(build)


@pytest.fixture
def store() -> InMemoryArtifactStore:
    return InMemoryArtifactStore()


def publish(store, output, ref=DAY, inputs=()):
    return publish_partition(store, ref, output, inputs=lambda: inputs, provenance=BY)


def held_words(store) -> set[str]:
    (artifact,) = store.get_heads("words", [DAY.partition])[DAY.partition]
    return set(store.open(artifact.artifact_id).to_table().column("text").to_pylist())


def test_the_head_is_exactly_what_was_produced(store):
    published = publish(store, PartitionOutput((draft({"a"}),), counts={"words": 1}))
    heads = store.get_heads("words", [DAY.partition])[DAY.partition]
    assert heads == published.artifacts
    assert published.counts == {"words": 1}


def test_producing_nothing_makes_an_empty_head(store):
    publish(store, PartitionOutput((draft({"a"}),)))
    publish(store, PartitionOutput(()))
    assert store.get_heads("words", [DAY.partition])[DAY.partition] == ()


def test_loose_drafts_are_published_without_a_head_or_lineage(store):
    (upstream,) = publish(store, PartitionOutput((draft({"u"}),))).artifacts
    loose = draft({"bad"}, f"day=unknown/source={7:016x}", source(7))
    other = PartitionRef("other", "2025-11-08")
    published = publish(
        store,
        PartitionOutput((draft({"a"}, "day=2025-11-08"),), loose=(loose,)),
        ref=other,
        inputs=(LineageInput(artifact_id=upstream.artifact_id),),
    )
    (result,) = published.loose
    assert result.artifact not in store.get_heads("other", ["2025-11-08"])["2025-11-08"]
    assert store.get_lineage(result.artifact_id).edges == ()
    assert store.get_sources([result.artifact_id])[result.artifact_id] == (source(7),)
    (edge,) = store.get_lineage(published.artifacts[0].artifact_id, depth=1).edges
    assert edge.input_id == upstream.artifact_id


def test_the_parameters_of_a_draft_join_those_of_the_run(store):
    (artifact,) = publish(store, PartitionOutput((draft({"a"}),))).artifacts
    (publication,) = store.get_publications(artifact.artifact_id)
    assert publication.provenance.params == {"partition": "2025-11-07", "rule": 1}


def test_a_growing_partition_keeps_what_it_held(store):
    publish(store, adding("a"))
    publish(store, adding("b"))
    assert held_words(store) == {"a", "b"}


def test_a_faster_writer_loses_nothing_and_makes_nobody_lose(store):
    publish(store, adding("a"))
    once = iter([lambda: publish(store, adding("faster"))])
    publish(store, adding("slower", meanwhile=lambda: next(once, lambda: None)()))
    assert held_words(store) == {"a", "faster", "slower"}


def test_a_partition_that_never_stands_still_is_given_up(store):
    counter = iter(range(1000))
    with pytest.raises(Conflict, match="run it again"):
        publish(
            store,
            adding("never", meanwhile=lambda: publish(store, adding(f"w{next(counter)}"))),
        )


def test_content_that_is_refused_is_not_tried_again(store):
    (artifact,) = publish(store, PartitionOutput((draft({"a"}),))).artifacts
    publish(store, PartitionOutput(()))
    store.tombstone(artifact.artifact_id, "wrong")
    tries = []
    with pytest.raises(Conflict, match="tombstoned"):
        publish(store, adding("a", meanwhile=lambda: tries.append(1)))
    assert len(tries) == 1


def finished(store, day: str, words: set[str], *, loose: tuple[ArtifactDraft, ...] = ()):
    output = PartitionOutput((draft(words, f"day={day}"),), loose=loose)
    ref = PartitionRef("words", day)
    return finish_partition(store, ref, output, inputs=tuple, provenance=BY)


def test_several_partitions_are_published_whole_in_one_transaction(store):
    loose = draft({"bad"}, f"day=unknown/source={7:016x}", source(7))
    days = ["2025-11-07", "2025-11-08"]
    both = [finished(store, day, {day}, loose=(loose,)) for day in days]
    first, second = publish_partitions(store, both)
    heads = store.get_heads("words", days)
    assert [heads[day] for day in days] == [first.artifacts, second.artifacts]
    assert [a.logical_key for a in (*first.artifacts, *second.artifacts)] == [
        "day=2025-11-07",
        "day=2025-11-08",
    ]
    assert len(first.loose) == 1
    assert second.loose == ()


def test_one_of_several_that_is_refused_leaves_none(store):
    publish(store, PartitionOutput((draft({"old"}),)))
    moved = replace(finished(store, DAY.partition, {"a"}), expected=frozenset())
    with pytest.raises(Conflict, match=r"2025-11-07.* another head by now"):
        publish_partitions(store, [finished(store, "2025-11-08", {"b"}), moved])
    assert held_words(store) == {"old"}
    assert store.get_heads("words", ["2025-11-08"])["2025-11-08"] is None
