"""`quantlab ops`: the store's operations as JSON, for programs in other languages.

One request on stdin, one answer on stdout; with `--serve` one a line, for as long as stdin lasts.
Here: what can be asked for, one declaration an operation, and the answers. Not here: how JSON is
held against a declaration. docs/commands.md has the fields of every operation.
"""

import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click
import msgspec

from quantlab_assets.cli.artifacts.publish import publish_file
from quantlab_assets.cli.artifacts.records import (
    artifact_record,
    artifact_records,
    lineage_record,
    publish_record,
)
from quantlab_assets.cli.session import Session, pass_session
from quantlab_assets.cli.shell.command import quantlab_command
from quantlab_assets.cli.shell.json_request import (
    BadRequest,
    Count,
    Number,
    Text,
    parse_request,
    take_as,
)
from quantlab_assets.cli.shell.options import parse_moment, shortened
from quantlab_assets.cli.shell.output import printable, to_json
from quantlab_assets.domain.artifacts.records import ARTIFACT_ID, ArtifactFilter, Status
from quantlab_assets.domain.errors import QuantlabError, StoreUnavailable
from quantlab_assets.version import __version__

if TYPE_CHECKING:
    from quantlab_assets.lake import Lake

MAX_REQUEST_BYTES: Final = 16 << 20
LAKES_KEPT: Final = 8


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
            return self._perform(parse_request(text, limit)), 0
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

    def _perform(self, fields: Mapping[str, Any]) -> Any:
        operation = take_as(fields, _Named, "").operation
        declaration = OPERATIONS.get(operation)
        if declaration is None:
            raise BadRequest(
                f"unknown operation {shortened(operation)}; known: {', '.join(OPERATIONS)}"
            )
        request = take_as(fields, declaration, operation)
        return request.perform(*self._lake(request))

    def _lake(self, request: "Request") -> "tuple[Session, Lake]":
        place = request.manifest_db, request.artifacts_root
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


class _Named(msgspec.Struct):
    """The field that says what else a request may have."""

    operation: Text


class Request(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, tag_field="operation"):
    """What every request may have beside the fields of its operation; the lake if not the usual.

    A misspelt field would be ignored in silence, so unknown ones are refused; `manifest_sql` and
    `filename_hint` of the wrapper that this command replaces are accepted, and of no effect.
    """

    manifest_db: Text | None = None
    artifacts_root: Text | None = None
    manifest_sql: Any = None
    filename_hint: Any = None

    def perform(self, session: Session, lake: "Lake") -> Any:
        """Do what is asked for; the answer, to be shown as JSON."""
        raise NotImplementedError


class GetArtifact(Request, tag="get_artifact"):
    """One artifact, by its id or the beginning of it."""

    artifact_id: Text

    def perform(self, session: Session, lake: "Lake") -> Any:
        """See `Request`."""
        artifact_id = lake.store.resolve_id(self.artifact_id)
        return artifact_record(lake.store, lake.store.get_artifact(artifact_id))


class GetArtifacts(Request, tag="get_artifacts"):
    """Several artifacts, in the order asked for."""

    artifact_ids: list[Text]

    def perform(self, session: Session, lake: "Lake") -> Any:
        """See `Request`."""
        # Whole ids, of which there may be thousands, are looked up together.
        artifact_ids = [
            given if ARTIFACT_ID.fullmatch(given) else lake.store.resolve_id(given)
            for given in self.artifact_ids
        ]
        return artifact_records(lake.store, lake.store.get_artifacts(artifact_ids))


class Filter(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Which artifacts to list; an absent field restricts nothing."""

    artifact_type: Text | None = None
    status: Status | None = None
    tags: dict[Text, Text] | None = None
    min_created_at: Text | None = None
    max_created_at: Text | None = None
    limit: Count | None = None


class ListArtifacts(Request, tag="list_artifacts"):
    """Artifacts newest first, without a limit unless one is given."""

    filter: Filter | None = None

    def perform(self, session: Session, lake: "Lake") -> Any:
        """See `Request`."""
        where = self.filter or Filter()
        page = lake.store.list_artifacts(
            ArtifactFilter(
                artifact_type=where.artifact_type,
                status=where.status,
                tags=where.tags or {},
                created_from=_moment("filter.minCreatedAt", where.min_created_at),
                created_to=_moment("filter.maxCreatedAt", where.max_created_at, end=True),
            ),
            limit=where.limit,
        )
        return artifact_records(lake.store, page.artifacts)


class FindByLogicalKey(Request, tag="find_by_logical_key"):
    """Every artifact of a type under a key."""

    artifact_type: Text
    logical_key: Text

    def perform(self, session: Session, lake: "Lake") -> Any:
        """See `Request`."""
        artifacts = lake.store.find_by_logical_key(self.artifact_type, self.logical_key)
        if not artifacts:
            lake.types.get(self.artifact_type)
        return artifact_records(lake.store, artifacts)


class PublishArtifact(Request, tag="publish_artifact"):
    """A file to publish, and who made it."""

    artifact_type: Text
    logical_key: Text
    data_path: Text
    schema_version: Number | None = None
    tags: dict[Text, Text] | None = None
    input_artifact_ids: list[Text] | None = None
    writer_name: Text | None = None
    writer_version: Text | None = None
    git_commit: Text | None = None
    git_dirty: bool | None = None
    params: dict[str, Any] | None = None

    def perform(self, session: Session, lake: "Lake") -> Any:
        """See `Request`."""
        from quantlab_assets.lake.provenance import provenance_of

        provenance = replace(
            provenance_of(self.writer_name or "quantlab ops", self.writer_version or __version__),
            params=self.params or {},
        )
        if self.git_commit is not None or self.git_dirty is not None:
            # The writer's own code, of which no difference is known here.
            provenance = replace(
                provenance,
                git_commit=self.git_commit,
                git_dirty=self.git_dirty,
                git_diff_hash=None,
            )
        result, data_hash = publish_file(
            session,
            lake,
            artifact_type=self.artifact_type,
            schema_version=self.schema_version,
            key=self.logical_key,
            data=Path(self.data_path),
            tags=self.tags or {},
            inputs=self.input_artifact_ids or [],
            provenance=provenance,
        )
        return publish_record(lake.store, result, data_hash)


class GetLineage(Request, tag="get_lineage"):
    """What an artifact was made from."""

    artifact_id: Text
    depth: Count | None = None

    def perform(self, session: Session, lake: "Lake") -> Any:
        """See `Request`."""
        artifact_id = lake.store.resolve_id(self.artifact_id)
        return lineage_record(lake.store, lake.store.get_lineage(artifact_id, depth=self.depth))


class GetDownstream(Request, tag="get_downstream"):
    """What was made from an artifact."""

    artifact_id: Text
    depth: Count | None = None

    def perform(self, session: Session, lake: "Lake") -> Any:
        """See `Request`."""
        artifact_id = lake.store.resolve_id(self.artifact_id)
        return lineage_record(lake.store, lake.store.get_downstream(artifact_id, depth=self.depth))


class Supersede(Request, tag="supersede"):
    """The artifact that takes the place of another."""

    new_artifact_id: Text
    old_artifact_id: Text
    reason: Text | None = None

    def perform(self, session: Session, lake: "Lake") -> Any:
        """See `Request`."""
        new = lake.store.resolve_id(self.new_artifact_id)
        old = lake.store.resolve_id(self.old_artifact_id)
        lake.store.supersede(new, old, reason=self.reason or "superseded")
        return {"success": True, "new_artifact_id": new, "old_artifact_id": old}


class Tombstone(Request, tag="tombstone"):
    """An artifact that is wrong, and why."""

    artifact_id: Text
    reason: Text | None = None

    def perform(self, session: Session, lake: "Lake") -> Any:
        """See `Request`."""
        artifact_id = lake.store.resolve_id(self.artifact_id)
        lake.store.tombstone(artifact_id, self.reason or "tombstoned")
        return {"success": True, "artifact_id": artifact_id}


class HealthCheck(Request, tag="health_check"):
    """Whether the lake can be read and written now, and where it is."""

    def perform(self, session: Session, lake: "Lake") -> Any:
        """See `Request`."""
        if not lake.store.is_available():
            raise StoreUnavailable(f"{session.settings.lake} cannot be read and written now")
        return {
            "success": True,
            "version": __version__,
            "manifest_db": session.settings.manifest,
            "artifacts_root": session.settings.artifacts_root,
        }


OPERATIONS: Final[Mapping[str, type[Request]]] = {
    str(declaration.__struct_config__.tag): declaration for declaration in Request.__subclasses__()
}
"""What can be asked for, by name."""


def _moment(name: str, text: str | None, *, end: bool = False) -> datetime | None:
    """A day or a time with its zone, None if it is not there."""
    if text is None:
        return None
    try:
        return parse_moment(text, end=end)
    except ValueError as error:
        raise BadRequest(f"{name}: {error}") from error
