"""The tables of the manifest.

Times are int64 microseconds UTC, JSON is canonical text. `artifacts.sequence` is the order in which
artifacts came: clocks go backwards, so nothing is ordered by `created_at`. How an older manifest
comes to have these tables is said in `migrations`.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData()

schema_migrations = Table(
    "schema_migrations",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("applied_at", BigInteger, nullable=False),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("artifact_id", Text, primary_key=True),
    Column("sequence", Integer, nullable=False, unique=True),
    Column("artifact_type", Text, nullable=False),
    Column("schema_version", Integer, nullable=False),
    Column("logical_key", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("keeps_many", Boolean, nullable=False),
    Column("path", Text, nullable=False, unique=True),
    Column("file_hash", Text, nullable=False),
    Column("file_size", BigInteger, nullable=False),
    Column("content_hash", Text, nullable=False),
    Column("row_count", BigInteger, nullable=False),
    Column("min_ts", BigInteger),
    Column("max_ts", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("purged_at", BigInteger),
    CheckConstraint("status IN ('active', 'superseded', 'tombstoned')", name="known_status"),
    UniqueConstraint(
        "artifact_type", "schema_version", "logical_key", "content_hash", name="one_per_content"
    ),
)
Index(
    "one_active_per_key",  # over all schema versions of the type
    artifacts.c.artifact_type,
    artifacts.c.logical_key,
    unique=True,
    sqlite_where=text("status = 'active' AND keeps_many = 0"),
)
Index("artifacts_by_key", artifacts.c.artifact_type, artifacts.c.logical_key)
Index("artifacts_by_type", artifacts.c.artifact_type, artifacts.c.status, artifacts.c.sequence)
Index("artifacts_by_arrival", artifacts.c.artifact_type, artifacts.c.sequence)
Index("artifacts_by_status", artifacts.c.status, artifacts.c.sequence)
Index("artifacts_by_creation", artifacts.c.created_at)
Index("artifacts_by_file_hash", artifacts.c.file_hash)

artifact_tags = Table(
    "artifact_tags",
    metadata,
    Column("artifact_id", ForeignKey("artifacts.artifact_id"), primary_key=True),
    Column("k", Text, primary_key=True),
    Column("v", Text, nullable=False),
)
Index("tags_by_value", artifact_tags.c.k, artifact_tags.c.v)

artifact_aliases = Table(
    "artifact_aliases",
    metadata,
    Column("alias", Text, primary_key=True),
    Column("artifact_id", ForeignKey("artifacts.artifact_id"), nullable=False),
)

tombstones = Table(
    "tombstones",
    metadata,
    Column("artifact_id", ForeignKey("artifacts.artifact_id"), primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
)

publications = Table(
    "publications",
    metadata,
    Column("publication_id", Integer, primary_key=True, autoincrement=False),
    Column("artifact_id", ForeignKey("artifacts.artifact_id"), nullable=False),
    Column("deduped", Boolean, nullable=False),
    Column("run_id", Text),
    Column("step", Text),
    Column("writer_name", Text, nullable=False),
    Column("writer_version", Text, nullable=False),
    Column("git_commit", Text),
    Column("git_dirty", Boolean),
    Column("git_diff_hash", Text),
    Column("params_json", Text, nullable=False),
    Column("environment_json", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
Index("publications_by_artifact", publications.c.artifact_id, publications.c.publication_id)

input_sets = Table(
    "input_sets",
    metadata,
    Column("input_set_id", Text, primary_key=True),
    Column("created_at", BigInteger, nullable=False),
)

input_set_members = Table(
    "input_set_members",
    metadata,
    Column("input_set_id", ForeignKey("input_sets.input_set_id"), primary_key=True),
    Column("artifact_id", ForeignKey("artifacts.artifact_id"), primary_key=True),
)
Index("input_sets_by_member", input_set_members.c.artifact_id)

lineage = Table(
    "lineage",
    metadata,
    Column("lineage_id", Integer, primary_key=True),
    Column("publication_id", ForeignKey("publications.publication_id"), nullable=False),
    Column("input_artifact_id", ForeignKey("artifacts.artifact_id")),
    Column("input_set_id", ForeignKey("input_sets.input_set_id")),
    Column("role", Text, nullable=False),
    CheckConstraint("(input_artifact_id IS NULL) <> (input_set_id IS NULL)", name="one_input"),
    CheckConstraint("role IN ('loaded', 'declared')", name="known_role"),
)
Index("lineage_by_publication", lineage.c.publication_id)
Index("lineage_by_input", lineage.c.input_artifact_id)
Index("lineage_by_input_set", lineage.c.input_set_id)

sources = Table(
    "sources",
    metadata,
    Column("sha256", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
)

publication_sources = Table(
    "publication_sources",
    metadata,
    Column("publication_id", ForeignKey("publications.publication_id"), primary_key=True),
    Column("sha256", ForeignKey("sources.sha256"), primary_key=True),
)
Index("publications_by_source", publication_sources.c.sha256)

partition_heads = Table(
    "partition_heads",
    metadata,
    Column("asset", Text, nullable=False),
    Column("partition", Text, nullable=False),
    # NULL: the head is there and empty. No row at all: the partition never ran.
    Column("artifact_id", ForeignKey("artifacts.artifact_id")),
)
Index(
    "one_head_entry",
    partition_heads.c.asset,
    partition_heads.c.partition,
    text("coalesce(artifact_id, '')"),
    unique=True,
)
Index("heads_by_artifact", partition_heads.c.artifact_id)

supersedes = Table(
    "supersedes",
    metadata,
    Column("supersede_id", Integer, primary_key=True),
    # NULL: nothing took its place, the partition no longer produces it.
    Column("new_id", ForeignKey("artifacts.artifact_id")),
    Column("old_id", ForeignKey("artifacts.artifact_id"), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
)
Index("supersedes_by_old", supersedes.c.old_id)
Index("supersedes_by_new", supersedes.c.new_id)

quarantined_files = Table(
    "quarantined_files",
    metadata,
    Column("quarantine_id", Integer, primary_key=True),
    Column("path", Text, nullable=False),
    Column("moved_to", Text, nullable=False),
    Column("artifact_id", ForeignKey("artifacts.artifact_id")),
    Column("reason", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)

experiments = Table(
    "experiments",
    metadata,
    Column("experiment_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("definition_json", Text, nullable=False),
    Column("alert_set_id", ForeignKey("input_sets.input_set_id"), nullable=False),
    Column("slice_set_id", ForeignKey("input_sets.input_set_id"), nullable=False),
    Column("input_set_id", ForeignKey("input_sets.input_set_id"), nullable=False),
    Column("engine_version", Text, nullable=False),
    Column("parent_id", ForeignKey("experiments.experiment_id")),
    Column("created_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("completed_at", BigInteger),
    Column("error", Text),
    Column("outputs_json", Text),
    CheckConstraint(
        "status IN ('pending', 'running', 'completed', 'failed', 'cancelled')",
        name="known_experiment_status",
    ),
)
Index("experiments_by_status", experiments.c.status, experiments.c.created_at)
Index("experiments_by_creation", experiments.c.created_at)
Index("experiments_by_input_set", experiments.c.input_set_id)

experiment_events = Table(
    "experiment_events",
    metadata,
    Column("event_id", Integer, primary_key=True),
    Column("experiment_id", ForeignKey("experiments.experiment_id"), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("old_status", Text),
    Column("new_status", Text, nullable=False),
    Column("detail", Text),
)
Index("events_by_experiment", experiment_events.c.experiment_id, experiment_events.c.event_id)

projection_requests = Table(
    "projection_requests",
    metadata,
    Column("projection_id", Text, primary_key=True),
    Column("request_json", Text, nullable=False),
)
