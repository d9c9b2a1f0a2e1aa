"""A bundle carries artifacts between lakes; whatever is wrong with it, nothing of it appears."""

import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quantlab_assets.adapters.artifact_store import ParquetStore
from quantlab_assets.adapters.bundle.export import export_bundle, import_bundle
from quantlab_assets.adapters.objects import parquet as parquet_format
from quantlab_assets.adapters.objects import sidecar
from quantlab_assets.adapters.objects.layout import parquet_path, sidecar_path
from quantlab_assets.adapters.objects.local_disk import sha256_of
from quantlab_assets.domain.artifacts.content_hash import content_hash
from quantlab_assets.domain.artifacts.identity import artifact_id_of
from quantlab_assets.domain.artifacts.records import LineageInput
from quantlab_assets.domain.errors import (
    Conflict,
    IntegrityError,
    NotFound,
    QuantlabError,
    ValidationFailed,
)
from quantlab_tests.adapters.artifact_store.lakes import NOTES, note, open_lake
from quantlab_tests.adapters.artifact_store.scenes import clean, copied

Members = dict[str, bytes]


@pytest.fixture
def source(memory_path: Path, full_lake: Path) -> ParquetStore:
    return copied(full_lake, memory_path / "source")


@pytest.fixture
def target(memory_path: Path) -> ParquetStore:
    return open_lake(memory_path / "target", create=True)


def everything(store: ParquetStore) -> list[str]:
    with store.database.reading() as connection:
        found = connection.exec_driver_sql("SELECT artifact_id FROM artifacts ORDER BY sequence")
        return [row[0] for row in found]


def test_a_lake_in_a_bundle_is_the_same_lake(
    source: ParquetStore, target: ParquetStore, memory_path: Path
) -> None:
    ids = everything(source)
    report = export_bundle(
        source, ids, memory_path / "all.tar", extra={"experiment/exp-1": {"a": [1, None]}}
    )

    done = import_bundle(target, memory_path / "all.tar")

    assert report.artifacts == done.added == tuple(ids)
    assert done.extra == {"experiment/exp-1": {"a": [1, None]}}
    assert target.get_artifacts(ids) == source.get_artifacts(ids)
    for one in ids:
        here, there = source.get_lineage(one), target.get_lineage(one)
        assert [replace(e, publication_id=0) for e in here.edges] == [
            replace(e, publication_id=0) for e in there.edges
        ]
        assert source.get_sources([one]) == target.get_sources([one])
        assert [replace(p, publication_id=0) for p in source.get_publications(one)] == [
            replace(p, publication_id=0) for p in target.get_publications(one)
        ]
    target.verify_artifacts(ids)
    clean(target)


def test_importing_twice_changes_nothing_and_exporting_twice_gives_the_same_bytes(
    source: ParquetStore, target: ParquetStore, memory_path: Path
) -> None:
    first, again = memory_path / "1.tar", memory_path / "2.tar"
    export_bundle(source, everything(source), first)
    export_bundle(source, everything(source)[::-1], again)
    assert first.read_bytes() == again.read_bytes()
    import_bundle(target, first)
    before = dump(target)

    done = import_bundle(target, again)

    assert (done.added, done.publications, len(done.present)) == ((), 0, len(everything(source)))
    assert dump(target) == before
    with pytest.raises(Conflict, match="is there already"):
        export_bundle(source, everything(source), first)


def dump(store: ParquetStore) -> list[object]:
    with store.database.reading() as connection:
        return [
            connection.exec_driver_sql(f"SELECT * FROM {name} ORDER BY 1, 2").all()
            for (name,) in connection.exec_driver_sql(
                "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
            ).all()
        ]


def test_lineage_comes_along_unless_it_is_there_already(
    source: ParquetStore, target: ParquetStore, memory_path: Path
) -> None:
    (made,) = source.find_by_logical_key("notes", "chat=12/day=2025-05-01")
    thin, whole = memory_path / "thin.tar", memory_path / "whole.tar"
    assert len(export_bundle(source, [made.artifact_id], thin, with_lineage=False).artifacts) == 1
    assert len(export_bundle(source, [made.artifact_id], whole).artifacts) == 3

    with pytest.raises(NotFound, match="export it with its lineage"):
        import_bundle(target, thin)
    assert target.list_artifacts().artifacts == ()
    import_bundle(target, whole)
    assert import_bundle(target, thin).added == ()
    assert len(target.get_lineage(made.artifact_id).artifacts) == 3


def test_what_is_here_is_not_displaced(
    source: ParquetStore, target: ParquetStore, memory_path: Path
) -> None:
    mine = target.publish_artifact(note(11, "mine"))
    same = target.publish_artifact(note(10, "base"))
    target.tombstone(same.artifact_id, "not wanted here")
    export_bundle(source, everything(source), memory_path / "all.tar")

    done = import_bundle(target, memory_path / "all.tar")

    assert target.get_artifact(mine.artifact_id).status == "active"
    theirs = target.find_by_logical_key("notes", "chat=11/day=2025-05-01")[1]
    assert theirs.status == "superseded"
    assert target.get_artifact(same.artifact_id).status == "tombstoned"
    assert done.present == (same.artifact_id,)
    assert [one.deduped for one in target.get_publications(same.artifact_id)] == [False, True]
    clean(target)


def test_lost_and_purged_bytes_come_back(source: ParquetStore, memory_path: Path) -> None:
    ids = everything(source)
    export_bundle(source, ids, memory_path / "all.tar")
    lost = source.get_artifact(ids[0])
    source.files_on_disk.locate(lost.path).unlink()

    assert import_bundle(source, memory_path / "all.tar").added == ()

    source.verify_artifacts(ids)
    clean(source)


def test_a_damaged_artifact_is_not_exported(source: ParquetStore, memory_path: Path) -> None:
    one = source.list_artifacts().artifacts[0]
    path = source.files_on_disk.locate(one.path)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"?")

    with pytest.raises(IntegrityError, match="is damaged"):
        export_bundle(source, [one.artifact_id], memory_path / "one.tar")
    assert not list(memory_path.glob("*one.tar*"))


@pytest.mark.parametrize("name", ["exp", "../x/y", "a/b/c", "A/b", "a/", "a/\0"])
def test_a_document_has_a_tame_name(source: ParquetStore, memory_path: Path, name: str) -> None:
    with pytest.raises(ValidationFailed, match="cannot name a document"):
        export_bundle(source, everything(source), memory_path / "all.tar", extra={name: {}})


# --- hostile bundles ---


def unpacked(path: Path) -> Members:
    with tarfile.open(path) as tar:
        return {one.name: tar.extractfile(one).read() for one in tar}  # type: ignore[union-attr]


def packed(members: Members | list[tuple[str, bytes]], path: Path) -> Path:
    files = members if isinstance(members, list) else members.items()
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def edit(members: Members, table: str, change: Callable[[dict[str, object]], None]) -> None:
    lines = all_rows(members)
    change(lines[first_of(members, table)]["row"])
    rewrite(members, lines)


def a_file(members: Members, ending: str) -> str:
    return next(name for name in members if name.startswith("artifacts/") and name.endswith(ending))


def flipped(members: Members, name: str) -> None:
    data = bytearray(members[name])
    data[len(data) // 2] ^= 1
    members[name] = bytes(data)


def forged_sidecar(members: Members) -> None:
    name = a_file(members, ".json")
    told = sidecar.unseal(members[name], name)
    members[name] = sidecar.seal({**told, "rowCount": 7})


def all_rows(members: Members) -> list[dict[str, Any]]:
    return [json.loads(line) for line in members["manifest.jsonl"].splitlines()]


def rewrite(members: Members, lines: list[dict[str, Any]]) -> None:
    members["manifest.jsonl"] = b"\n".join(json.dumps(line).encode() for line in lines)


def first_of(members: Members, table: str) -> int:
    return next(i for i, line in enumerate(all_rows(members)) if line["table"] == table)


def twice(members: Members, table: str) -> None:
    lines = all_rows(members)
    at = first_of(members, table)
    rewrite(members, [*lines[:at], lines[at], *lines[at:]])


def without(members: Members, table: str) -> None:
    lines = all_rows(members)
    del lines[first_of(members, table)]
    rewrite(members, lines)


def in_turn(members: Members, table: str) -> None:
    """Exchange the first two rows of a table."""
    lines = all_rows(members)
    at = first_of(members, table)
    lines[at : at + 2] = lines[at : at + 2][::-1]
    rewrite(members, lines)


def two_kinds_of_input(members: Members) -> None:
    name = all_rows(members)[first_of(members, "input_set_members")]["row"]["input_set_id"]
    edit(members, "lineage", lambda row: row.update(input_set_id=name))


def elsewhere(members: Members) -> None:
    """A row that leads out of the lake, with files where it leads."""
    row = all_rows(members)[first_of(members, "artifacts")]["row"]
    for suffix in (".parquet", ".json"):
        name = f"artifacts/{row['path']}".removesuffix(".parquet") + suffix
        members[f"artifacts/../../evil{suffix}"] = members.pop(name)
    edit(members, "artifacts", lambda row: row.update(path="../../evil.parquet"))


def under_a_folder(members: Members) -> None:
    """So long a name that a header has it in two parts, the second a name that belongs here."""
    name = a_file(members, ".parquet")
    members["e" * 60 + "/" + name] = members.pop(name)


def in_agreement(members: Members, **changes: int) -> None:
    """Change the row of the first artifact, and what its sidecar says of it."""
    row = all_rows(members)[first_of(members, "artifacts")]["row"]
    name = f"artifacts/{row['path']}".removesuffix(".parquet") + ".json"
    edit(members, "artifacts", lambda row: row.update(changes))
    told = sidecar.unseal(members[name], name)
    camel = {"row_count": "rowCount", "file_size": "fileSize"}
    members[name] = sidecar.seal({**told, **{camel[key]: to for key, to in changes.items()}})


NOBODY = "0" * 32
HOSTILE: dict[str, tuple[Callable[[Members], object], str]] = {
    "a flipped byte of a file": (lambda m: flipped(m, a_file(m, ".parquet")), "match its hash"),
    "a flipped byte of a sidecar": (lambda m: flipped(m, a_file(m, ".json")), "sidecar .* damaged"),
    "a sidecar of something else": (forged_sidecar, "describes another file"),
    "a missing file": (lambda m: m.pop(a_file(m, ".parquet")), "parquet' is missing"),
    "a missing sidecar": (lambda m: m.pop(a_file(m, ".json")), "json' is missing"),
    "a file outside": (lambda m: m.update({"artifacts/../../evil": b"x"}), "belongs to none"),
    "an absolute file": (lambda m: m.update({"/tmp/evil": b"x"}), "belongs to none"),
    "a file under a folder": (under_a_folder, "parquet' is missing"),
    "a name that is not ASCII": (lambda m: m.update({"extra/ü.json": b"{}"}), "not ASCII"),
    "no manifest": (lambda m: m.pop("manifest.jsonl"), "manifest.jsonl is not where it belongs"),
    "a header of pages": (
        lambda m: m.update({"bundle.json": b'{"format": 1}' + b" " * 5_000}),
        "bundle.json is not where it belongs",
    ),
    "another format": (lambda m: m.update({"bundle.json": b'{"format": 2}'}), "another format"),
    "a manifest that is no JSON": (lambda m: m.update({"manifest.jsonl": b"{"}), "is no JSON"),
    "JSON nested without end": (
        lambda m: m.update({"manifest.jsonl": b"[" * 100_000}),
        "is no JSON",
    ),
    "a foreign table": (
        lambda m: m.update(
            {"manifest.jsonl": m["manifest.jsonl"] + b'{"table":"experiments","row":{}}'}
        ),
        "has a foreign line",
    ),
    "tables that are no names": (
        lambda m: m.update({"manifest.jsonl": m["manifest.jsonl"] + b'{"table":[],"row":{}}'}),
        "has a foreign line",
    ),
    "a path that climbs": (
        lambda m: edit(m, "artifacts", lambda r: r.update(path="../../x")),
        "'artifacts/../../x' is missing",
    ),
    "a path that climbs, with its file": (elsewhere, "is not sound"),
    "another id": (
        lambda m: edit(m, "artifacts", lambda r: r.update(artifact_id=NOBODY)),
        "is not sound",
    ),
    "an id that is a number": (
        lambda m: edit(m, "artifacts", lambda r: r.update(artifact_id=1)),
        "impossible artifacts.artifact_id",
    ),
    "a status of its own": (
        lambda m: edit(m, "artifacts", lambda r: r.update(status="best")),
        "is not sound",
    ),
    "a rule of its own": (
        lambda m: edit(m, "artifacts", lambda r: r.update(keeps_many=True)),
        "is not sound",
    ),
    "another count of rows": (
        lambda m: edit(m, "artifacts", lambda r: r.update(row_count=1000)),
        "describes another file",
    ),
    "another count of rows in row and sidecar": (
        lambda m: in_agreement(m, row_count=1000),
        "other content than its row says",
    ),
    "another size in row and sidecar": (
        lambda m: in_agreement(m, file_size=7),
        "does not match its hash",
    ),
    "a huge number": (
        lambda m: edit(m, "artifacts", lambda r: r.update(file_size=2**70)),
        "impossible artifacts.file_size",
    ),
    "a truth for a number": (
        lambda m: edit(m, "artifacts", lambda r: r.update(row_count=True)),
        "impossible artifacts.row_count",
    ),
    "an unknown type": (
        lambda m: edit(m, "artifacts", lambda r: r.update(artifact_type="evil")),
        "unknown artifact type 'evil'",
    ),
    "a further column": (
        lambda m: edit(m, "artifacts", lambda r: r.update(evil=1)),
        "a row that is none of artifacts",
    ),
    "an artifact twice": (lambda m: twice(m, "artifacts"), "an artifact twice"),
    "a hash that is none": (
        lambda m: edit(m, "sources", lambda r: r.update(sha256="'; DROP")),
        "a source without a hash",
    ),
    "a source that is not there": (
        lambda m: edit(m, "publication_sources", lambda r: r.update(sha256="sha256:" + "f" * 64)),
        "a source of nothing",
    ),
    "a tag of another's": (
        lambda m: edit(m, "artifact_tags", lambda r: r.update(artifact_id=NOBODY)),
        "artifact_tags of artifacts that are not in it",
    ),
    "text that is not UTF-8": (
        lambda m: edit(m, "artifact_tags", lambda r: r.update(v="\ud800")),
        "impossible artifact_tags.v",
    ),
    "a set of others": (
        lambda m: edit(m, "input_set_members", lambda r: r.update(artifact_id=NOBODY)),
        "is not what it is named by",
    ),
    "a member of a set twice": (
        lambda m: twice(m, "input_set_members"),
        "is not what it is named by",
    ),
    "lineage to nowhere": (
        lambda m: edit(m, "lineage", lambda r: r.update(input_artifact_id=NOBODY)),
        f"needs '{NOBODY}'",
    ),
    "lineage to a set of nowhere": (
        lambda m: edit(
            m, "lineage", lambda r: r.update(input_artifact_id=None, input_set_id=NOBODY)
        ),
        f"needs '{NOBODY}'",
    ),
    "lineage to two things": (two_kinds_of_input, "lineage to nothing"),
    "lineage to the future": (
        lambda m: edit(m, "lineage", lambda r: r.update(publication_id=1)),
        "made from a later one",
    ),
    "lineage of no publication": (
        lambda m: edit(m, "lineage", lambda r: r.update(publication_id=10**6)),
        "lineage of nothing",
    ),
    "lineage in a role of its own": (
        lambda m: edit(m, "lineage", lambda r: r.update(role="stolen")),
        "lineage of nothing",
    ),
    "publications out of order": (lambda m: in_turn(m, "publications"), "not in order"),
    "an artifact nobody published": (
        lambda m: without(m, "publications"),
        "publications are not those of its artifacts",
    ),
    "a first publication of what was there": (
        lambda m: edit(m, "publications", lambda r: r.update(deduped=True)),
        "which publications were first",
    ),
    "params that are a list": (
        lambda m: edit(m, "publications", lambda r: r.update(params_json="[1]")),
        "impossible publications.params_json",
    ),
    "params that are no JSON": (
        lambda m: edit(m, "publications", lambda r: r.update(params_json="{")),
        "is no JSON",
    ),
    "a tombstone that nobody set": (
        lambda m: without(m, "tombstones"),
        "tombstones are not those of its artifacts",
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_bundle_is_refused_as_a_whole(
    source: ParquetStore, target: ParquetStore, memory_path: Path, what: str
) -> None:
    export_bundle(source, everything(source), memory_path / "all.tar")
    members = unpacked(memory_path / "all.tar")
    change, says = HOSTILE[what]
    change(members)

    with pytest.raises(QuantlabError, match=says) as refused:
        import_bundle(target, packed(members, memory_path / "hostile.tar"))

    assert "\n" not in str(refused.value)
    nothing_came(target)


def nothing_came(target: ParquetStore) -> None:
    assert target.list_artifacts().artifacts == ()
    assert list(target.files_on_disk.scan()) == []
    assert list(target.files_on_disk.staging.iterdir()) == []


@pytest.mark.parametrize(
    "kind",
    [
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.DIRTYPE,
        tarfile.FIFOTYPE,
        tarfile.GNUTYPE_SPARSE,
        tarfile.XHDTYPE,
    ],
)
def test_members_that_are_no_plain_files_are_refused(
    target: ParquetStore, memory_path: Path, kind: bytes
) -> None:
    path = memory_path / "link.tar"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        info = tarfile.TarInfo("bundle.json")
        info.type = kind
        info.linkname = "/etc/passwd"
        tar.addfile(info)

    with pytest.raises(IntegrityError, match="no regular file"):
        import_bundle(target, path)


def test_what_is_cut_short_too_big_or_no_tar_is_refused(
    source: ParquetStore, target: ParquetStore, memory_path: Path
) -> None:
    whole = memory_path / "all.tar"
    export_bundle(source, everything(source), whole)
    cut = memory_path / "cut.tar"
    for size in (0, 100, 512, 5_000, whole.stat().st_size - 11_000):
        cut.write_bytes(whole.read_bytes()[:size])
        with pytest.raises(IntegrityError, match="is cut short"):
            import_bundle(target, cut)
    cut.write_bytes(whole.read_bytes().replace(b"bundle.json", b"bundle.jsom", 1))
    with pytest.raises(IntegrityError, match="a header is damaged"):
        import_bundle(target, cut)
    cut.write_bytes(b"x" * 4096)
    with pytest.raises(IntegrityError, match="no tar file"):
        import_bundle(target, cut)
    with pytest.raises(IntegrityError, match="more than 100"):
        import_bundle(target, whole, max_file_bytes=100)
    with pytest.raises(NotFound, match="no bundle at"):
        import_bundle(target, memory_path / "absent.tar")
    nothing_came(target)


def test_a_size_that_is_no_number_is_refused(
    source: ParquetStore, target: ParquetStore, memory_path: Path
) -> None:
    bundle = memory_path / "all.tar"
    export_bundle(source, everything(source), bundle)
    data = bytearray(bundle.read_bytes())
    data[124:136] = b"a great deal"
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    bundle.write_bytes(data)

    with pytest.raises(IntegrityError, match="a size is no number"):
        import_bundle(target, bundle)
    nothing_came(target)


@pytest.mark.parametrize("named", ["as before", "by what is in it now"])
def test_rows_are_what_publishing_would_have_made_of_them(
    target: ParquetStore, memory_path: Path, named: str
) -> None:
    """A file with other rows, or with its rows in another order, and all hashes to match."""
    store = open_lake(memory_path / "other", create=True)
    true = store.publish_artifact(note(1, "a", "b")).artifact
    export_bundle(store, [true.artifact_id], memory_path / "true.tar")
    members = unpacked(memory_path / "true.tar")
    rows = store.open(true.artifact_id).to_table()
    if named == "as before":
        rows = rows.set_column(1, NOTES.schema.field("text"), [["a", "forged"]])
        forged = true
    else:
        rows = rows.take([1, 0])
        hashed = content_hash(rows)
        artifact_id = artifact_id_of("notes", 1, true.logical_key, hashed)
        path = parquet_path("notes", 1, artifact_id)
        forged = replace(true, artifact_id=artifact_id, content_hash=hashed, path=path)
    data = parquet_format.encode(rows, NOTES, forged.content_hash)
    forged = replace(forged, file_hash=sha256_of(data), file_size=len(data))
    told = sidecar.unseal(members.pop(f"artifacts/{sidecar_path(true.path)}"), true.path)
    del members[f"artifacts/{true.path}"]
    manifest = members["manifest.jsonl"].decode()
    for was, now in (
        (true.path, forged.path),
        (true.artifact_id, forged.artifact_id),
        (true.content_hash, forged.content_hash),
        (true.file_hash, forged.file_hash),
        (f'"file_size":{true.file_size}', f'"file_size":{forged.file_size}'),
    ):
        assert was in manifest
        manifest = manifest.replace(was, now)
    members["manifest.jsonl"] = manifest.encode()
    members[f"artifacts/{forged.path}"] = data
    members[f"artifacts/{sidecar_path(forged.path)}"] = sidecar.seal(
        {**told, **sidecar.identity(forged)}
    )

    with pytest.raises(IntegrityError, match="holds other content than its row says"):
        import_bundle(target, packed(members, memory_path / "forged.tar"))
    nothing_came(target)


def test_a_file_that_is_in_it_twice_is_refused(
    source: ParquetStore, target: ParquetStore, memory_path: Path
) -> None:
    export_bundle(source, everything(source), memory_path / "all.tar")
    members = list(unpacked(memory_path / "all.tar").items())
    again = next(member for member in members if member[0].endswith(".parquet"))

    with pytest.raises(IntegrityError, match=f"{again[0]}' is in it twice"):
        import_bundle(target, packed([*members, again], memory_path / "twice.tar"))
    nothing_came(target)


def test_a_self_made_input_is_refused(target: ParquetStore, memory_path: Path) -> None:
    store = open_lake(memory_path / "other", create=True)
    base = store.publish_artifact(note(1, "base"))
    made = store.publish_artifact(
        replace(note(2, "made"), inputs=(LineageInput(artifact_id=base.artifact_id),))
    )
    export_bundle(store, [made.artifact_id], memory_path / "two.tar")
    members = unpacked(memory_path / "two.tar")
    edit(members, "lineage", lambda row: row.update(input_artifact_id=made.artifact_id))

    with pytest.raises(IntegrityError, match="made from a later one"):
        import_bundle(target, packed(members, memory_path / "loop.tar"))
