"""Kills a busy process with SIGKILL, again and again. Run as a module: `kill_loop FOLDER N SEED`.

A forked child publishes, publishes over, supersedes, tombstones and collects on the lake `FOLDER`,
and acknowledges what it published on a pipe. After each kill the lake is opened and audited, all
that was acknowledged is looked up, and garbage is collected. Prints how many were acknowledged.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import pyarrow.parquet  # noqa: F401

import quantlab_assets.domain.artifacts.value_rules  # noqa: F401
from quantlab_assets.adapters.upkeep.audit import audit
from quantlab_tests.adapters.artifact_store.lakes import note, open_lake
from quantlab_tests.adapters.artifact_store.operations import collect_all


def work(folder: Path, round_: int, acknowledge: int) -> None:
    """Work until killed."""
    store = open_lake(folder)
    for i in range(1_000_000):
        keys = (i % 5, 10 + i % 7)
        made = [store.publish_artifact(note(chat, f"{round_}/{i}/{chat}")) for chat in keys]
        for one in made:
            os.write(acknowledge, one.artifact_id.encode())
        if i % 5 == 1:
            store.supersede(made[0].artifact_id, made[1].artifact_id)
        if i % 5 == 2:
            store.tombstone(made[1].artifact_id, "a mistake")
        if i % 5 == 3:
            collect_all(store, folder)


def main(folder: Path, rounds: int, seed: int) -> int:
    drawn = random.Random(seed)
    open_lake(folder, create=True)
    acknowledged: list[str] = []
    for round_ in range(rounds):
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read)
            work(folder, round_, write)
        os.close(write)
        first = os.read(read, 32)
        time.sleep(drawn.uniform(0, 0.25))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        said = first
        while more := os.read(read, 1 << 16):
            said += more
        os.close(read)
        acknowledged += [said[i : i + 32].decode() for i in range(0, len(said) - 31, 32)]

        store = open_lake(folder)
        problems = audit(store).problems
        found = store.get_artifacts(acknowledged)
        store.verify_artifacts([one.artifact_id for one in found if one.purged_at is None])
        collect_all(store, folder)
        after = audit(store)
        staged = list((folder / "staging").iterdir())
        if problems or after.problems or after.unreferenced or staged:
            print(round_, problems, after, staged, file=sys.stderr)
            return 1
    print(len(acknowledged))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
