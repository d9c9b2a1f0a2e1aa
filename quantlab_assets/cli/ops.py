"""`quantlab ops`: the store's operations as JSON, for programs in other languages.

One request on stdin, one answer on stdout; with `--serve` one a line, for as long as stdin lasts.
docs/commands.md has the fields of every operation.
"""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click

from quantlab_assets.cli.artifacts.publish import publish_file
from quantlab_assets.cli.artifacts.records import (
    artifact_record,
    artifact_records,
    lineage_record,
    publish_record,
)
from quantlab_assets.cli.session import Session, pass_session
from quantlab_assets.cli.shell.command import quantlab_command
from quantlab_assets.cli.shell.output import printable, to_json
from quantlab_assets.cli.shell.parameters import parse_moment, shortened
from quantlab_assets.domain.artifacts.records import ARTIFACT_ID, ArtifactFilter
from quantlab_assets.domain.errors import QuantlabError, StoreUnavailable, ValidationFailed
from quantlab_assets.version import __version__

if TYPE_CHECKING:
    from quantlab_assets.lake import Lake

MAX_REQUEST_BYTES: Final = 16 << 20
IGNORED: Final = frozenset({"manifest_sql", "filename_hint"})
"""Fields of the wrapper that this command replaces: accepted, and of no effect."""

EVERYWHERE: Final = frozenset({"operation", "manifest_db", "artifacts_root"}) | IGNORED
LAKES_KEPT: Final = 8
STATUSES: Final = ("active", "superseded", "tombstoned")


class BadRequest(ValidationFailed):
    """A request that is no request: not JSON, an unknown operation or field, a wrong type."""

    exit_code = 2


@quantlab_command(
    "ops",
    examples="""
    quantlab ops
    quantlab ops --serve --max-request-bytes 65536
    """,
)
@click.option("--serve", is_flag=True, help="Read one request a line, until stdin ends.")
@click.option(
    "--max-request-bytes",
    type=click.IntRange(min=1),
    default=MAX_REQUEST_BYTES,
    show_default=True,
    help="Refuse a longer request.",
)
@pass_session
def ops(session: Session, serve: bool, max_request_bytes: int) -> int:
    """Answer a JSON request on stdin with JSON on stdout, for programs in other languages.

    An error is {"error", "type"} on stderr with the exit code; with --serve it is a line on stdout
    like any answer, with "exitCode", and the next request is read.
    """
    operations = Operations(session)
    if serve:
        _serve(operations, sys.stdin.buffer, max_request_bytes)
        return 0
    text = sys.stdin.buffer.read(max_request_bytes + 1)
    answer, code = operations.answer(text, max_request_bytes)
    click.echo(to_json(answer, ascii_only=True), err=code != 0)
    return code


def _serve(operations: "Operations", requests: BinaryIO, limit: int) -> None:
    while line := requests.readline(limit + 1):
        if len(line) > limit and not line.endswith(b"\n"):
            _skip_line(requests)
        elif not line.strip():
            continue
        answer, code = operations.answer(line.rstrip(b"\r\n"), limit)
        if code:
            answer |= {"exit_code": code}
        sys.stdout.write(to_json(answer, ascii_only=True) + "\n")
        sys.stdout.flush()


def _skip_line(requests: BinaryIO) -> None:
    """Read on to the end of a line that is too long, without keeping it."""
    while rest := requests.readline(1 << 16):
        if rest.endswith(b"\n"):
            return


class Operations:
    """Answers requests; the lakes they name stay open between them."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._opened: dict[tuple[str | None, str | None], tuple[Session, Lake]] = {}

    def answer(self, text: bytes, limit: int) -> tuple[Any, int]:
        """The answer to one request, or the error, and the exit code that goes with it."""
        try:
            return self._perform(_parsed(text, limit)), 0
        except QuantlabError as error:
            message, kind, code = str(error), type(error).__name__, error.exit_code
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            message, kind, code = f"{where}{error.strerror or error}", type(error).__name__, 1
        except Exception as error:
            if self._session.debug:
                raise
            message = f"{type(error).__name__}: {error}: this is a bug in quantlab"
            kind, code = "InternalError", 1
        return {"error": printable(message).strip(), "type": kind}, code

    def _perform(self, request: "Request") -> Any:
        operation = request.text("operation")
        found = OPERATIONS.get(operation)
        if found is None:
            raise BadRequest(
                f"unknown operation {shortened(operation)}; known: {', '.join(OPERATIONS)}"
            )
        perform, fields = found
        request.allow_only(fields | EVERYWHERE, operation)
        return perform(*self._lake(request), request)

    def _lake(self, request: "Request") -> "tuple[Session, Lake]":
        place = request.optional_text("manifest_db"), request.optional_text("artifacts_root")
        if place not in self._opened:
            settings = self._session.settings
            manifest, root = place
            if manifest is not None:
                settings = replace(settings, manifest=Path(manifest).absolute())
            if root is not None:
                settings = replace(settings, artifacts_root=Path(root).absolute())
            session = Session(given=settings, debug=self._session.debug)
            lake = session.open_lake()
            while len(self._opened) >= LAKES_KEPT:
                del self._opened[next(iter(self._opened))]
            self._opened[place] = session, lake
        return self._opened[place]


class Request:
    """A JSON object whose fields are asked for by type. All raise `BadRequest`."""

    def __init__(self, fields: Mapping[str, Any], within: str = "") -> None:
        self._fields = fields
        self._within = within

    def allow_only(self, names: frozenset[str], where: str) -> None:
        """Refuse fields of other names: a misspelt one would be ignored in silence."""
        unknown = sorted(set(self._fields) - names)
        if unknown:
            raise BadRequest(f"{where}: unknown field {shortened(unknown[0])}")

    def text(self, name: str) -> str:
        """A text that must be there."""
        found = self.optional_text(name)
        if found is None:
            raise BadRequest(f"{self._within}{name} is missing")
        return found

    def optional_text(self, name: str) -> str | None:
        """A text, None if it is not there."""
        found = self._fields.get(name)
        return None if found is None else self._checked_text(found, name)

    def texts(self, name: str, *, required: bool = False) -> list[str]:
        """A list of texts."""
        found = self._fields.get(name)
        if found is None and not required:
            return []
        if not isinstance(found, list):
            raise BadRequest(f"{self._within}{name} must be a list of texts")
        return [self._checked_text(one, name) for one in found]

    def tags(self, name: str) -> dict[str, str]:
        """An object of texts."""
        return {
            self._checked_text(key, name): self._checked_text(value, f"{name}.{key}")
            for key, value in self.object(name).items()
        }

    def object(self, name: str) -> dict[str, Any]:
        """An object, empty if it is not there."""
        found = self._fields.get(name)
        if found is None:
            return {}
        if not isinstance(found, dict):
            raise BadRequest(f"{self._within}{name} must be an object")
        return found

    def count(self, name: str) -> int | None:
        """A whole number of 1 or more, None if it is not there."""
        found = self.integer(name)
        if found is not None and found < 1:
            raise BadRequest(f"{self._within}{name} must be 1 or more")
        return found

    def integer(self, name: str) -> int | None:
        """A whole number, None if it is not there."""
        found = self._fields.get(name)
        if found is not None and (isinstance(found, bool) or not isinstance(found, int)):
            raise BadRequest(f"{self._within}{name} must be a whole number")
        if found is not None and abs(found) >= 1 << 63:
            raise BadRequest(f"{self._within}{name} is too large a number")
        return found

    def flag(self, name: str) -> bool | None:
        """True or false, None if it is not there."""
        found = self._fields.get(name)
        if found is not None and not isinstance(found, bool):
            raise BadRequest(f"{self._within}{name} must be true or false")
        return found

    def moment(self, name: str, *, end: bool = False) -> datetime | None:
        """A day or a time with its zone, None if it is not there."""
        found = self.optional_text(name)
        if found is None:
            return None
        try:
            return parse_moment(found, end=end)
        except ValueError as error:
            raise BadRequest(f"{self._within}{name}: {error}") from error

    def _checked_text(self, value: Any, name: str) -> str:
        if not isinstance(value, str):
            raise BadRequest(f"{self._within}{shortened(name)[1:-1]} must be text")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise BadRequest(f"{self._within}{name} is not UTF-8 text") from error
        if "\0" in value:
            raise BadRequest(f"{self._within}{name} has a NUL in it")
        return value


def _parsed(text: bytes, limit: int) -> Request:
    if len(text) > limit:
        raise BadRequest(f"the request is longer than {limit} bytes; see --max-request-bytes")
    try:
        found = json.loads(
            text.decode(), parse_constant=_refuse_constant, object_pairs_hook=_without_repeats
        )
    except RecursionError as error:
        raise BadRequest("the request is nested too deeply") from error
    except ValueError as error:
        raise BadRequest(f"the request is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadRequest("the request must be a JSON object")
    return Request(found)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a field is given twice")
    return fields


def _get_artifact(_: Session, lake: "Lake", request: Request) -> Any:
    wanted = lake.store.resolve_id(request.text("artifact_id"))
    return artifact_record(lake.store, lake.store.get_artifact(wanted))


def _get_artifacts(_: Session, lake: "Lake", request: Request) -> Any:
    # Whole ids, of which there may be thousands, are looked up together.
    wanted = [
        one if ARTIFACT_ID.fullmatch(one) else lake.store.resolve_id(one)
        for one in request.texts("artifact_ids", required=True)
    ]
    return artifact_records(lake.store, lake.store.get_artifacts(wanted))


def _list_artifacts(_: Session, lake: "Lake", request: Request) -> Any:
    where = Request(request.object("filter"), "filter.")
    where.allow_only(
        frozenset({"artifactType", "status", "tags", "minCreatedAt", "maxCreatedAt", "limit"}),
        "filter",
    )
    status = where.optional_text("status")
    if status is not None and status not in STATUSES:
        raise BadRequest(f"filter.status must be one of {', '.join(STATUSES)}")
    page = lake.store.list_artifacts(
        ArtifactFilter(
            artifact_type=where.optional_text("artifactType"),
            status=status,  # type: ignore[arg-type]
            tags=where.tags("tags"),
            created_from=where.moment("minCreatedAt"),
            created_to=where.moment("maxCreatedAt", end=True),
        ),
        limit=where.count("limit"),
    )
    return artifact_records(lake.store, page.artifacts)


def _find_by_logical_key(_: Session, lake: "Lake", request: Request) -> Any:
    artifact_type, key = request.text("artifact_type"), request.text("logical_key")
    found = lake.store.find_by_logical_key(artifact_type, key)
    if not found:
        lake.types.get(artifact_type)
    return artifact_records(lake.store, found)


def _publish_artifact(session: Session, lake: "Lake", request: Request) -> Any:
    provenance = replace(
        lake.provenance(request.optional_text("writer_name") or "quantlab ops"),
        writer_version=request.optional_text("writer_version") or __version__,
        params=request.object("params"),
    )
    commit, dirty = request.optional_text("git_commit"), request.flag("git_dirty")
    if commit is not None or dirty is not None:
        # The writer's own code, of which no difference is known here.
        provenance = replace(provenance, git_commit=commit, git_dirty=dirty, git_diff_hash=None)
    result, data_hash = publish_file(
        session,
        lake,
        artifact_type=request.text("artifact_type"),
        schema_version=request.integer("schema_version"),
        key=request.text("logical_key"),
        data=Path(request.text("data_path")),
        tags=request.tags("tags"),
        inputs=request.texts("input_artifact_ids"),
        provenance=provenance,
    )
    return publish_record(lake.store, result, data_hash)


def _get_lineage(_: Session, lake: "Lake", request: Request) -> Any:
    wanted = lake.store.resolve_id(request.text("artifact_id"))
    return lineage_record(lake.store, lake.store.get_lineage(wanted, depth=request.count("depth")))


def _get_downstream(_: Session, lake: "Lake", request: Request) -> Any:
    wanted = lake.store.resolve_id(request.text("artifact_id"))
    return lineage_record(
        lake.store, lake.store.get_downstream(wanted, depth=request.count("depth"))
    )


def _supersede(_: Session, lake: "Lake", request: Request) -> Any:
    new = lake.store.resolve_id(request.text("new_artifact_id"))
    old = lake.store.resolve_id(request.text("old_artifact_id"))
    lake.store.supersede(new, old, reason=request.optional_text("reason") or "superseded")
    return {"success": True, "new_artifact_id": new, "old_artifact_id": old}


def _tombstone(_: Session, lake: "Lake", request: Request) -> Any:
    wanted = lake.store.resolve_id(request.text("artifact_id"))
    lake.store.tombstone(wanted, request.optional_text("reason") or "tombstoned")
    return {"success": True, "artifact_id": wanted}


def _health_check(session: Session, lake: "Lake", _: Request) -> Any:
    if not lake.store.is_available():
        raise StoreUnavailable(f"{session.settings.lake} cannot be read and written now")
    return {
        "success": True,
        "version": __version__,
        "manifest_db": session.settings.manifest,
        "artifacts_root": session.settings.artifacts_root,
    }


Operation = Callable[[Session, "Lake", Request], Any]


def _fields(names: str) -> frozenset[str]:
    return frozenset(names.split())


OPERATIONS: Final[Mapping[str, tuple[Operation, frozenset[str]]]] = {
    "get_artifact": (_get_artifact, _fields("artifact_id")),
    "get_artifacts": (_get_artifacts, _fields("artifact_ids")),
    "list_artifacts": (_list_artifacts, _fields("filter")),
    "find_by_logical_key": (_find_by_logical_key, _fields("artifact_type logical_key")),
    "publish_artifact": (
        _publish_artifact,
        _fields(
            "artifact_type schema_version logical_key data_path tags input_artifact_ids"
            " writer_name writer_version git_commit git_dirty params"
        ),
    ),
    "get_lineage": (_get_lineage, _fields("artifact_id depth")),
    "get_downstream": (_get_downstream, _fields("artifact_id depth")),
    "supersede": (_supersede, _fields("new_artifact_id old_artifact_id reason")),
    "tombstone": (_tombstone, _fields("artifact_id reason")),
    "health_check": (_health_check, _fields("")),
}
"""What can be asked for, and the fields of each beside those of every request."""
