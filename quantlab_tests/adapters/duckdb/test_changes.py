"""A projection that is brought up to date equals one that is built from nothing, row for row."""

import multiprocessing
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from quantlab_assets.adapters.duckdb import DuckdbProjections, build, plan
from quantlab_assets.adapters.duckdb.build import Builder
from quantlab_assets.adapters.duckdb.plan import Plan
from quantlab_assets.adapters.manifest.as_tables import ManifestRecords
from quantlab_assets.domain.artifacts.registry import TypeRegistry
from quantlab_assets.domain.artifacts.seed_types import OHLCV_SLICE
from quantlab_assets.domain.errors import IntegrityError
from quantlab_assets.handlers.projections import research_request
from quantlab_assets.ports.projection_builder import (
    ArtifactSelector,
    ProjectionRequest,
    ProjectionTable,
)
from quantlab_tests.handlers.experiments.lab import (
    DUD,
    EVM,
    MINUTE,
    RUNNER,
    T0,
    Call,
    Lab,
    line,
    publish_alerts,
    publish_candles,
    real_lab,
)

TOKENS = (RUNNER, DUD, EVM)
SLICES = ProjectionRequest(
    (ProjectionTable("candles", OHLCV_SLICE.name, selector=ArtifactSelector()),), "slices"
)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return real_lab(tmp_path / "lake")


@pytest.fixture
def always_change(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Change files whatever it costs, with a layout that settles early; which were changed."""
    monkeypatch.setattr(build, "WORTH_CHANGING", 0.0)
    monkeypatch.setattr(build, "MOST_BLOAT", 1e9)
    monkeypatch.setattr(plan, "SMALL", 2)
    changed: list[str] = []
    real = Builder.change

    def change(self: Builder, wanted: Plan, *rest: Any) -> Any:
        changed.append(wanted.projection_id)
        return real(self, wanted, *rest)

    monkeypatch.setattr(Builder, "change", change)
    return changed


def elsewhere(lab: Lab, cache: Path) -> DuckdbProjections:
    """Projections of the same lake in another cache, where nothing is built yet."""
    records = ManifestRecords(lab.store.database)
    return DuckdbProjections(cache, lab.store, lab.store, TypeRegistry(), records=records)


def contents(built: Any, projection_id: str) -> dict[str, list[str]]:
    """All rows of all tables, in their order, as text."""
    with built.connect(projection_id) as connection:
        names = connection.execute(
            "SELECT schema_name || '.' || table_name FROM duckdb_tables() ORDER BY 1"
        ).fetchall()
        found: dict[str, pa.Table] = {
            name: connection.sql(f"SELECT * FROM {name}").to_arrow_table() for (name,) in names
        }
    return {name: [repr(row) for row in table.to_pylist()] for name, table in found.items()}


class History:
    """Things that happen to a lake, by chance."""

    def __init__(self, lab: Lab, seed: int) -> None:
        self.lab = lab
        self.chance = random.Random(seed)
        self.published: list[Callable[[], str]] = []

    def happen(self) -> None:
        step = self.chance.choice([self.candles, self.candles, self.calls, self.again, self.lose])
        step()

    def candles(self) -> None:
        """A slice, new or in place of another; windows overlap, some are of several networks."""
        mint = self.chance.choice(TOKENS)
        count = self.chance.choice([2, 5, 9])
        start = T0 + self.chance.randrange(4) * 3 * MINUTE
        price = self.chance.uniform(1, 2)
        network = self.chance.choice(["bsc", None]) if mint == EVM else None

        def publish() -> str:
            return publish_candles(
                self.lab.store, mint, line(price, price + 1, count), start=start, network=network
            )

        publish()
        self.published.append(publish)

    def calls(self) -> None:
        message, mint = self.chance.randrange(5), self.chance.choice(TOKENS)
        publish_alerts(
            self.lab.store, Call(mint, T0, message=message), day=f"2025-11-0{message + 1}"
        )

    def again(self) -> None:
        """Old content comes back."""
        if self.published:
            self.chance.choice(self.published)()

    def lose(self) -> None:
        held = self.lab.store.list_artifacts().artifacts
        active = sorted(one.artifact_id for one in held if one.status == "active")
        lost = self.chance.choice(active) if len(active) > 3 else None
        others = [one for one in active if one != lost and self._type(one) == self._type(lost)]
        if lost is not None and others:
            self.lab.store.supersede(others[0], lost)

    def _type(self, artifact_id: str | None) -> str | None:
        return artifact_id and self.lab.store.get_artifact(artifact_id).artifact_type


@pytest.mark.parametrize("seed", [1, 2, pytest.param(3, marks=pytest.mark.nightly)])
def test_whatever_happens_to_the_lake_a_change_equals_a_build_from_nothing(
    seed: int, lab: Lab, tmp_path: Path, always_change: list[str]
) -> None:
    history = History(lab, seed)
    for round_ in range(8):
        for _ in range(3):
            history.happen()
        lab.projections.build(SLICES)
        fresh = elsewhere(lab, tmp_path / f"fresh{round_}")
        fresh.build(SLICES)
        assert contents(lab.projections, "slices") == contents(fresh, "slices")
        if round_ % 4 == 3:
            lab.projections.build(research_request())
            fresh.build(research_request())
            assert contents(lab.projections, "research") == contents(fresh, "research")
    assert "slices" in always_change
    assert "research" in always_change


def test_artifacts_that_are_added_are_all_that_is_read(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        publish_candles(lab.store, DUD, line(1, 3), start=T0 + number * MINUTE)
    lab.projections.build(SLICES)
    asked: list[int] = []
    real = lab.store.files

    def files(ids: Any, *, verify: bool) -> Any:
        asked.append(len(ids))
        return real(ids, verify=verify)

    monkeypatch.setattr(lab.store, "files", files)
    publish_candles(lab.store, RUNNER, line(1, 3))
    assert lab.projections.build(SLICES).rows == {"candles": 420}
    lab.projections.build(SLICES)
    assert asked == [1]


def test_a_reader_of_the_old_file_is_not_disturbed_by_a_change(
    lab: Lab, always_change: list[str]
) -> None:
    publish_candles(lab.store, RUNNER, line(1, 3))
    lab.projections.build(SLICES)
    publish_candles(lab.store, DUD, line(1, 3))
    with lab.projections.connect("slices") as earlier:
        lab.projections.build(SLICES)
        with lab.projections.connect("slices") as later:
            counted = "SELECT count(*) FROM candles"
            assert earlier.execute(counted).fetchall() == [(60,)]
            assert later.execute(counted).fetchall() == [(120,)]
    assert always_change == ["slices"]


def build_and_die(root: Path) -> None:
    """Change the projection, and be killed when all is written and nothing is in place."""
    build.sync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
    real_lab(root).projections.build(SLICES)


def test_a_change_that_is_killed_leaves_the_old_file_and_a_later_one_tidies_up(
    lab: Lab, tmp_path: Path
) -> None:
    publish_candles(lab.store, DUD, line(1, 3))
    lab.projections.build(SLICES)
    publish_candles(lab.store, RUNNER, line(1, 3))
    killed = multiprocessing.get_context("spawn").Process(
        target=build_and_die, args=(tmp_path / "lake",)
    )
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL

    building = tmp_path / "lake" / "cache" / ".building"
    assert (building / "slices" / "slices.duckdb").is_file()
    with lab.projections.connect("slices") as connection:
        assert connection.execute("SELECT count(*) FROM candles").fetchall() == [(60,)]
    lab.projections.sweep()  # type: ignore[attr-defined]
    assert list(building.iterdir()) == []
    assert lab.projections.build(SLICES).rows == {"candles": 120}


def test_a_file_that_changes_have_bloated_is_built_from_nothing(
    lab: Lab, always_change: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_candles(lab.store, DUD, line(1, 3))
    lab.projections.build(SLICES)
    publish_candles(lab.store, RUNNER, line(1, 3))
    monkeypatch.setattr(build, "MOST_BLOAT", 0)
    monkeypatch.setattr(build, "BLOAT_OF_SMALL_FILES", 0)
    assert lab.projections.build(SLICES).rows == {"candles": 120}
    assert always_change == []


def test_a_damaged_file_is_built_from_nothing_instead_of_being_changed(
    lab: Lab, always_change: list[str]
) -> None:
    publish_candles(lab.store, RUNNER, line(1, 3))
    built = lab.projections.build(SLICES)
    damage(built.path)
    publish_candles(lab.store, DUD, line(1, 3))
    assert lab.projections.build(SLICES).rows == {"candles": 120}
    with lab.projections.connect("slices") as connection:
        assert connection.execute("SELECT count(ts) FROM candles").fetchall() == [(120,)]


def test_a_damaged_artifact_that_is_added_is_refused_and_the_old_file_stays(
    lab: Lab, tmp_path: Path, always_change: list[str]
) -> None:
    publish_candles(lab.store, RUNNER, line(1, 3))
    lab.projections.build(SLICES)
    added = publish_candles(lab.store, DUD, line(1, 3))
    damage(tmp_path / "lake" / "artifacts" / lab.store.get_artifact(added).path)
    with pytest.raises(IntegrityError, match=added):
        lab.projections.build(SLICES)
    with lab.projections.connect("slices") as connection:
        assert connection.execute("SELECT count(*) FROM candles").fetchall() == [(60,)]


def damage(path: Path) -> None:
    """Overwrite the middle of a file, with its size and times as they were."""
    times = path.stat()
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64 - 2 * n % 64 for n in range(64))
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(0o444)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
