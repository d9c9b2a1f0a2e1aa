"""How a table becomes the bytes of a Parquet file, and how such bytes are read back with care.

One library version writes the same bytes for the same canonical table; other versions may not,
which is why the content hash, not the file hash, is an artifact's identity. Where files lie and how
they are put there is said in `layout` and `local_disk`.
"""

from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from quantlab_assets.domain.artifacts.content_hash import content_hash
from quantlab_assets.domain.artifacts.type import ArtifactType
from quantlab_assets.domain.errors import IntegrityError, ValidationFailed

if TYPE_CHECKING:
    import pyarrow.dataset as ds

ROW_GROUP_ROWS: Final = 122_880
"""DuckDB's unit of work, so that its threads and zone maps fit the row groups."""

TYPE_KEY: Final = "quantlab.artifact_type"
VERSION_KEY: Final = "quantlab.schema_version"
HASH_KEY: Final = "quantlab.content_hash"


def encode(table: pa.Table, artifact_type: ArtifactType, hashed: str) -> bytes:
    """The Parquet file of a canonical table whose content hash is `hashed`."""
    import pyarrow.parquet as pq

    times = [
        field.name
        for field in table.schema
        if pa.types.is_timestamp(field.type) and field.name not in artifact_type.dictionary_columns
    ]
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        table.schema,
        compression="zstd",
        use_dictionary=list(artifact_type.dictionary_columns) or False,
        column_encoding=dict.fromkeys(times, "DELTA_BINARY_PACKED"),
        write_page_checksum=True,
        store_schema=_needs_arrow_schema(table.schema),
    ) as writer:
        writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
        writer.add_key_value_metadata(
            {
                TYPE_KEY: artifact_type.name,
                VERSION_KEY: str(artifact_type.schema_version),
                HASH_KEY: hashed,
            }
        )
    data: bytes = sink.getvalue().to_pybytes()
    return data


def decode(data: bytes, name: str) -> pa.Table:
    """The rows of a user's Parquet file. Raises `ValidationFailed` if it is none."""
    import pyarrow.parquet as pq

    try:
        return pq.read_table(pa.BufferReader(data), page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0][:200]
        raise ValidationFailed(f"{name} is no readable Parquet file: {reason}") from error


def check_content(data: bytes, hashed: str, path: str) -> None:
    """Raise `IntegrityError` unless the file's rows have the content hash."""
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(data), page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise IntegrityError(f"{path} is no readable Parquet file; move it away") from error
    actual = content_hash(table)
    if actual != hashed:
        raise IntegrityError(
            f"{path} holds other content ({actual}) than its name says; move it away"
        )


def dataset(paths: list[str], schema: pa.Schema | None) -> "ds.Dataset":
    """An Arrow dataset over files of one schema, in their order, page checksums verified."""
    import pyarrow.dataset as ds

    options: dict[str, Any] = {"page_checksum_verification": True}
    parquet = ds.ParquetFileFormat(
        default_fragment_scan_options=ds.ParquetFragmentScanOptions(**options)
    )
    if schema is None:
        return ds.dataset(paths, format=parquet)
    return ds.dataset(paths, schema=schema, format=parquet)


def _needs_arrow_schema(schema: pa.Schema) -> bool:
    """Whether Parquet's own types lose something, which only a zone other than UTC does."""
    return any(
        pa.types.is_timestamp(field.type) and field.type.tz not in (None, "UTC") for field in schema
    )
