"""The steps that bring an older manifest up to date, as they were when they were released.

A new manifest is created whole, from `tables`; one that is there is taken through the steps that it
has not had. So a step is frozen: its statements are text that names no table of today, and are not
edited once a release has them. To change the schema, change `tables` (a new column goes last, where
ALTER TABLE puts it), append a step with the statements that make the same change, and the test
`test_migrations` says whether both ways end at one schema.

How a manifest is opened and locked is not said here but in `engine`.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, MetaData, func, select

from quantlab_assets.adapters.manifest.tables import metadata, schema_migrations
from quantlab_assets.domain.errors import IntegrityError


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step: its statements, which stand in one transaction with their record."""

    version: int
    script: str

    def statements(self) -> list[str]:
        """The script's statements, in their order; no text in one has a semicolon."""
        return [text for part in self.script.split(";") if (text := part.strip())]


@dataclass(frozen=True, slots=True)
class Schema:
    """The tables of today, and the steps that lead to them from the first version."""

    tables: MetaData
    steps: Sequence[Migration]

    @property
    def newest(self) -> int:
        """The version that the tables of today are."""
        return self.steps[-1].version


def version_of(connection: Connection) -> int:
    """The schema version of a manifest, 0 for an empty file.

    Raises `IntegrityError` if the file is a database of something else.
    """
    tables = connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one()
    if not tables:
        return 0
    known = connection.exec_driver_sql(
        "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'schema_migrations'"
    ).scalar_one()
    if not known:
        raise IntegrityError("the manifest file is a database of something else")
    newest = select(func.max(schema_migrations.c.version))
    return int(connection.execute(newest).scalar_one() or 0)


def advance(connection: Connection, schema: Schema) -> int:
    """Take a manifest one step on (an empty file all the way), and return its version.

    Call it in a write transaction, again until the version is the newest.
    """
    version = version_of(connection)
    if version == 0:
        schema.tables.create_all(connection, checkfirst=False)
        _record(connection, schema.steps)
        return schema.newest
    for step in schema.steps:
        if step.version > version:
            for statement in step.statements():
                connection.exec_driver_sql(statement)
            _record(connection, [step])
            return step.version
    return version


def _record(connection: Connection, steps: Sequence[Migration]) -> None:
    now = time.time_ns() // 1000
    connection.execute(
        schema_migrations.insert(),
        [{"version": step.version, "applied_at": now} for step in steps],
    )


_FIRST_TABLES: Final = """
CREATE TABLE artifacts (
    artifact_id TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    artifact_type TEXT NOT NULL,
    schema_version INTEGER NOT NULL,
    logical_key TEXT NOT NULL,
    status TEXT NOT NULL,
    keeps_many BOOLEAN NOT NULL,
    path TEXT NOT NULL,
    file_hash TEXT NOT NULL,
    file_size BIGINT NOT NULL,
    content_hash TEXT NOT NULL,
    row_count BIGINT NOT NULL,
    min_ts BIGINT,
    max_ts BIGINT,
    created_at BIGINT NOT NULL,
    purged_at BIGINT,
    PRIMARY KEY (artifact_id),
    CONSTRAINT known_status CHECK (status IN ('active', 'superseded', 'tombstoned')),
    CONSTRAINT one_per_content UNIQUE (artifact_type, schema_version, logical_key, content_hash),
    UNIQUE (sequence),
    UNIQUE (path)
);
CREATE INDEX artifacts_by_arrival ON artifacts (artifact_type, sequence);
CREATE INDEX artifacts_by_creation ON artifacts (created_at);
CREATE INDEX artifacts_by_file_hash ON artifacts (file_hash);
CREATE INDEX artifacts_by_key ON artifacts (artifact_type, logical_key);
CREATE INDEX artifacts_by_status ON artifacts (status, sequence);
CREATE INDEX artifacts_by_type ON artifacts (artifact_type, status, sequence);
CREATE UNIQUE INDEX one_active_per_key
    ON artifacts (artifact_type, schema_version, logical_key)
    WHERE status = 'active' AND keeps_many = 0;
CREATE TABLE input_sets (
    input_set_id TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (input_set_id)
);
CREATE TABLE schema_migrations (
    version INTEGER NOT NULL,
    applied_at BIGINT NOT NULL,
    PRIMARY KEY (version)
);
CREATE TABLE sources (
    sha256 TEXT NOT NULL,
    name TEXT NOT NULL,
    size BIGINT NOT NULL,
    kind TEXT NOT NULL,
    PRIMARY KEY (sha256)
);
CREATE TABLE artifact_aliases (
    alias TEXT NOT NULL,
    artifact_id TEXT NOT NULL,
    PRIMARY KEY (alias),
    FOREIGN KEY(artifact_id) REFERENCES artifacts (artifact_id)
);
CREATE TABLE artifact_tags (
    artifact_id TEXT NOT NULL,
    k TEXT NOT NULL,
    v TEXT NOT NULL,
    PRIMARY KEY (artifact_id, k),
    FOREIGN KEY(artifact_id) REFERENCES artifacts (artifact_id)
);
CREATE INDEX tags_by_value ON artifact_tags (k, v);
CREATE TABLE experiments (
    experiment_id TEXT NOT NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    definition_json TEXT NOT NULL,
    alert_set_id TEXT NOT NULL,
    slice_set_id TEXT NOT NULL,
    input_set_id TEXT NOT NULL,
    engine_version TEXT NOT NULL,
    parent_id TEXT,
    created_at BIGINT NOT NULL,
    started_at BIGINT,
    completed_at BIGINT,
    error TEXT,
    outputs_json TEXT,
    PRIMARY KEY (experiment_id),
    CONSTRAINT known_experiment_status
        CHECK (status IN ('pending', 'running', 'completed', 'failed', 'cancelled')),
    FOREIGN KEY(alert_set_id) REFERENCES input_sets (input_set_id),
    FOREIGN KEY(slice_set_id) REFERENCES input_sets (input_set_id),
    FOREIGN KEY(input_set_id) REFERENCES input_sets (input_set_id),
    FOREIGN KEY(parent_id) REFERENCES experiments (experiment_id)
);
CREATE INDEX experiments_by_creation ON experiments (created_at);
CREATE INDEX experiments_by_input_set ON experiments (input_set_id);
CREATE INDEX experiments_by_status ON experiments (status, created_at);
CREATE TABLE input_set_members (
    input_set_id TEXT NOT NULL,
    artifact_id TEXT NOT NULL,
    PRIMARY KEY (input_set_id, artifact_id),
    FOREIGN KEY(input_set_id) REFERENCES input_sets (input_set_id),
    FOREIGN KEY(artifact_id) REFERENCES artifacts (artifact_id)
);
CREATE INDEX input_sets_by_member ON input_set_members (artifact_id);
CREATE TABLE partition_heads (
    asset TEXT NOT NULL,
    partition TEXT NOT NULL,
    artifact_id TEXT,
    FOREIGN KEY(artifact_id) REFERENCES artifacts (artifact_id)
);
CREATE INDEX heads_by_artifact ON partition_heads (artifact_id);
CREATE UNIQUE INDEX one_head_entry
    ON partition_heads (asset, partition, coalesce(artifact_id, ''));
CREATE TABLE publications (
    publication_id INTEGER NOT NULL,
    artifact_id TEXT NOT NULL,
    deduped BOOLEAN NOT NULL,
    run_id TEXT,
    step TEXT,
    writer_name TEXT NOT NULL,
    writer_version TEXT NOT NULL,
    git_commit TEXT,
    git_dirty BOOLEAN,
    git_diff_hash TEXT,
    params_json TEXT NOT NULL,
    environment_json TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (publication_id),
    FOREIGN KEY(artifact_id) REFERENCES artifacts (artifact_id)
);
CREATE INDEX publications_by_artifact ON publications (artifact_id, publication_id);
CREATE TABLE quarantined_files (
    quarantine_id INTEGER NOT NULL,
    path TEXT NOT NULL,
    moved_to TEXT NOT NULL,
    artifact_id TEXT,
    reason TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (quarantine_id),
    FOREIGN KEY(artifact_id) REFERENCES artifacts (artifact_id)
);
CREATE TABLE supersedes (
    supersede_id INTEGER NOT NULL,
    new_id TEXT,
    old_id TEXT NOT NULL,
    at BIGINT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (supersede_id),
    FOREIGN KEY(new_id) REFERENCES artifacts (artifact_id),
    FOREIGN KEY(old_id) REFERENCES artifacts (artifact_id)
);
CREATE INDEX supersedes_by_new ON supersedes (new_id);
CREATE INDEX supersedes_by_old ON supersedes (old_id);
CREATE TABLE tombstones (
    artifact_id TEXT NOT NULL,
    at BIGINT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (artifact_id),
    FOREIGN KEY(artifact_id) REFERENCES artifacts (artifact_id)
);
CREATE TABLE experiment_events (
    event_id INTEGER NOT NULL,
    experiment_id TEXT NOT NULL,
    at BIGINT NOT NULL,
    old_status TEXT,
    new_status TEXT NOT NULL,
    detail TEXT,
    PRIMARY KEY (event_id),
    FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id)
);
CREATE INDEX events_by_experiment ON experiment_events (experiment_id, event_id);
CREATE TABLE lineage (
    lineage_id INTEGER NOT NULL,
    publication_id INTEGER NOT NULL,
    input_artifact_id TEXT,
    input_set_id TEXT,
    role TEXT NOT NULL,
    PRIMARY KEY (lineage_id),
    CONSTRAINT one_input CHECK ((input_artifact_id IS NULL) <> (input_set_id IS NULL)),
    CONSTRAINT known_role CHECK (role IN ('loaded', 'declared')),
    FOREIGN KEY(publication_id) REFERENCES publications (publication_id),
    FOREIGN KEY(input_artifact_id) REFERENCES artifacts (artifact_id),
    FOREIGN KEY(input_set_id) REFERENCES input_sets (input_set_id)
);
CREATE INDEX lineage_by_input ON lineage (input_artifact_id);
CREATE INDEX lineage_by_input_set ON lineage (input_set_id);
CREATE INDEX lineage_by_publication ON lineage (publication_id);
CREATE TABLE publication_sources (
    publication_id INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    PRIMARY KEY (publication_id, sha256),
    FOREIGN KEY(publication_id) REFERENCES publications (publication_id),
    FOREIGN KEY(sha256) REFERENCES sources (sha256)
);
CREATE INDEX publications_by_source ON publication_sources (sha256);
"""

# Manifests that were created whole by a program of version 2 had the table before the step.
_PROJECTION_REQUESTS: Final = """
CREATE TABLE IF NOT EXISTS projection_requests (
    projection_id TEXT NOT NULL,
    request_json TEXT NOT NULL,
    PRIMARY KEY (projection_id)
);
"""

# No type had two versions before, so there is nothing that an older program could leave
# doubled; should there be two all the same, the newest version stays.
_ONE_ACTIVE_OF_ALL_VERSIONS: Final = """
INSERT INTO supersedes (new_id, old_id, at, reason)
SELECT newest.artifact_id, artifacts.artifact_id,
    CAST(strftime('%s', 'now') AS INTEGER) * 1000000, 'newer_version'
FROM artifacts JOIN artifacts AS newest
    ON newest.artifact_type = artifacts.artifact_type
    AND newest.logical_key = artifacts.logical_key
WHERE artifacts.status = 'active' AND artifacts.keeps_many = 0 AND newest.status = 'active'
AND newest.schema_version = (
    SELECT max(every.schema_version) FROM artifacts AS every
    WHERE every.artifact_type = artifacts.artifact_type
    AND every.logical_key = artifacts.logical_key
    AND every.status = 'active'
) AND newest.schema_version > artifacts.schema_version;
UPDATE artifacts SET status = 'superseded'
WHERE status = 'active' AND keeps_many = 0 AND EXISTS (
    SELECT 1 FROM artifacts AS newer
    WHERE newer.artifact_type = artifacts.artifact_type
    AND newer.logical_key = artifacts.logical_key
    AND newer.status = 'active'
    AND newer.schema_version > artifacts.schema_version
);
DROP INDEX one_active_per_key;
CREATE UNIQUE INDEX one_active_per_key ON artifacts (artifact_type, logical_key)
WHERE status = 'active' AND keeps_many = 0;
"""

MANIFEST: Final = Schema(
    metadata,
    (
        Migration(1, _FIRST_TABLES),
        Migration(2, _PROJECTION_REQUESTS),
        Migration(3, _ONE_ACTIVE_OF_ALL_VERSIONS),
    ),
)
"""The schema of a lake's manifest."""
