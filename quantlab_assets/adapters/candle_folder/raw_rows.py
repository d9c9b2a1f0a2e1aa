"""The bytes of one file as raw rows: CSV or Parquet by content, every field as the file has it."""

import io
from typing import Final

import polars as pl

from quantlab_assets.adapters.candle_folder.columns import by_position
from quantlab_assets.domain.candles.columns import NAMES, by_header

MAX_COLUMNS: Final = 64
MAX_RAW_TEXT: Final = 2000
"""Characters of a raw line that the quarantine keeps."""

ROLES: Final = (*NAMES,)


class UnreadableFileError(Exception):
    """A file that holds no candles at all: its code and the reason, for the quarantine."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def is_parquet(data: bytes) -> bool:
    """Whether the bytes are a Parquet file, whatever the file's name says."""
    return data[:4] == b"PAR1"


def read_rows(data: bytes, *, max_rows: int) -> pl.DataFrame:
    """The rows of a file: row_number, raw_values, a column for each role (null where it has none).

    Raises `UnreadableFileError` with the codes `empty_file`, `unreadable_file`, `unknown_shape`,
    `too_large`.
    """
    if not data.strip():
        raise UnreadableFileError("empty_file", "the file is empty")
    rows = _parquet(data, max_rows) if is_parquet(data) else _csv(_decoded(data), max_rows)
    if rows.is_empty():
        raise UnreadableFileError("empty_file", "the file has a header and no rows")
    return rows


def _decoded(data: bytes) -> str:
    """The text of a CSV file. Bytes that are no UTF-8 spoil their row, not the file."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace").removeprefix("\ufeff")
    if b"\0" in data:
        raise UnreadableFileError("unknown_shape", "the file is neither text nor Parquet")
    return data.decode("utf-8-sig", errors="replace")


def _csv(text: str, max_rows: int) -> pl.DataFrame:
    if "\n" not in text:
        text = text.replace("\r", "\n")
    if text.count("\n") > max_rows:
        raise UnreadableFileError("too_large", f"the file has more than {max_rows} lines")
    lines = (
        pl.DataFrame({"raw_values": text.split("\n")}, schema={"raw_values": pl.String})
        .with_row_index("row_number", offset=1)
        .with_columns(
            pl.col("row_number").cast(pl.Int64), pl.col("raw_values").str.strip_chars("\r")
        )
        .filter(pl.col("raw_values").str.strip_chars() != "")
    )
    first = lines["raw_values"][0]
    separator = max(",;\t|", key=first.count)
    cells = [cell.strip(' "\t') for cell in first.split(separator, MAX_COLUMNS)]
    roles = by_header(cells)
    if roles is not None:
        lines = lines.slice(1)
    else:
        roles = by_position(cells)
    if roles is None or len(cells) > MAX_COLUMNS:
        raise UnreadableFileError(
            "unknown_shape",
            "the first line is neither a header naming time, open, high, low and close"
            " nor a row of a time and four prices",
        )
    width = len(cells)
    fields = pl.col("raw_values").str.splitn(separator, width + 1)
    # A row that is cut or has a field too many is not guessed at: none of its fields is read.
    whole = fields.struct.field(f"field_{width - 1}").is_not_null() & (
        fields.struct.field(f"field_{width}").is_null()
    )
    return lines.select(
        "row_number",
        pl.col("raw_values").str.slice(0, MAX_RAW_TEXT),
        *(
            pl.when(whole)
            .then(fields.struct.field(f"field_{roles[role]}").str.strip_chars(' "\t'))
            .alias(role)
            if role in roles
            else pl.lit(None, dtype=pl.String).alias(role)
            for role in ROLES
        ),
    )


def _parquet(data: bytes, max_rows: int) -> pl.DataFrame:
    try:
        schema = pl.read_parquet_schema(io.BytesIO(data))
        roles = by_header(list(schema)[:MAX_COLUMNS])
        if roles is None:
            raise UnreadableFileError(
                "unknown_shape",
                f"no columns for time, open, high, low and close among {', '.join(schema)[:200]}",
            )
        names = {role: list(schema)[index] for role, index in roles.items()}
        height = pl.scan_parquet(io.BytesIO(data)).select(pl.len()).collect().item()
        if height > max_rows:
            raise UnreadableFileError(
                "too_large", f"the file has {height} rows; allowed are {max_rows}"
            )
        frame = pl.read_parquet(io.BytesIO(data), columns=sorted(set(names.values())))
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        first_line = (str(error).splitlines() or [""])[0]
        raise UnreadableFileError(
            "unreadable_file", f"the Parquet file is damaged: {first_line}"
        ) from error
    text_roles = ("address", "network", "interval")
    return frame.select(
        pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("row_number"),
        pl.struct(sorted(set(names.values()))).alias("raw_values"),
        *(
            pl.lit(None, dtype=pl.String).alias(role)
            if role not in names
            else pl.col(names[role]).cast(pl.String, strict=False).alias(role)
            if role in text_roles
            else pl.col(names[role]).alias(role)
            for role in ROLES
        ),
    )
