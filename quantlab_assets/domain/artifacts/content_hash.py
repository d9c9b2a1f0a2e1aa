"""QLCH-1: the content hash of a table, independent of how Arrow happens to lay it out.

The construction, byte by byte, is in docs/store.md. It works on Arrow's buffers through numpy
views, a block of 65,536 rows at a time, so that memory stays flat and SHA-256 is nearly all of the
cost.
"""

import hashlib
import struct
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pyarrow as pa

from quantlab_assets.domain.errors import ValidationFailed

BLOCK_ROWS: Final = 65_536
_MAGIC: Final = b"QLCH1\0"
_COUNTS: Final = struct.Struct("<II")

_FIXED: Final[dict[pa.DataType, tuple[str, str]]] = {
    pa.int8(): ("int8", "<i1"),
    pa.int16(): ("int16", "<i2"),
    pa.int32(): ("int32", "<i4"),
    pa.int64(): ("int64", "<i8"),
    pa.uint8(): ("uint8", "<u1"),
    pa.uint16(): ("uint16", "<u2"),
    pa.uint32(): ("uint32", "<u4"),
    pa.uint64(): ("uint64", "<u8"),
    pa.float32(): ("f32", "<f4"),
    pa.float64(): ("f64", "<f8"),
    pa.date32(): ("date32", "<i4"),
}
_TEXT: Final = {pa.string(), pa.large_string(), pa.string_view()}
_BINARY: Final = {pa.binary(), pa.large_binary(), pa.binary_view()}
_VIEWS: Final = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}

_POSITIVE_INFINITY_BITS: Final = {
    4: np.uint32(0x7F800000),
    8: np.uint64(0x7FF0000000000000),
}


def type_code(data_type: pa.DataType) -> str:
    """The code of an Arrow type in the hash; physical variants of a type share one.

    Raises `ValidationFailed` for a type that QLCH-1 does not know.
    """
    if pa.types.is_dictionary(data_type):
        return type_code(data_type.value_type)
    if data_type in _FIXED:
        return _FIXED[data_type][0]
    if data_type in _TEXT:
        return "utf8"
    if data_type in _BINARY:
        return "bin"
    if pa.types.is_boolean(data_type):
        return "bool"
    if pa.types.is_timestamp(data_type):
        return f"ts_us:{data_type.tz or ''}"
    raise ValidationFailed(f"type {data_type} has no content hash; use a plain column type")


def content_hash(table: pa.Table) -> str:
    """The QLCH-1 hash, `sha256:<hex>`, of a table whose rows are in canonical order already.

    Chunking, offsets, dictionary encoding, large and view types, schema metadata, what lies under
    nulls, NaN payloads and the sign of zero do not change it; names, types, values and order do.
    Raises `ValidationFailed` for an unsupported type or a time finer than a microsecond.
    """
    root = hashlib.sha256(_MAGIC + struct.pack("<QI", table.num_rows, table.num_columns))
    for field in table.schema:
        for text in (field.name.encode(), type_code(field.type).encode()):
            root.update(struct.pack("<I", len(text)) + text)
    columns = [_Column(table.column(i)) for i in range(table.num_columns)]
    for start in range(0, table.num_rows, BLOCK_ROWS):
        rows = min(BLOCK_ROWS, table.num_rows - start)
        leaf = hashlib.sha256()
        for column in columns:
            column.hash_rows(leaf, start, rows)
        root.update(leaf.digest())
    return f"sha256:{root.hexdigest()}"


def canonical_floats(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The same floats with `-0.0` as `+0.0` and every NaN quiet and without payload.

    Returns the array given when nothing has to change.
    """
    bits = values.view(f"<u{values.itemsize}")
    # The usual column holds non-negative numbers only, and one pass over its bits proves it.
    if len(bits) == 0 or bits.max() <= _POSITIVE_INFINITY_BITS[values.itemsize]:
        return values
    nan = np.isnan(values)
    negative_zero = bits == np.asarray(-0.0, values.dtype).view(bits.dtype)
    if not (nan.any() or negative_zero.any()):
        return values
    canonical = values.copy()
    canonical[negative_zero] = 0.0
    canonical[nan] = np.nan
    return canonical


class _Column:
    """One column, hashed a block of rows at a time."""

    def __init__(self, data: pa.ChunkedArray) -> None:
        self._chunks = [chunk for chunk in data.chunks if len(chunk)]
        self._next = 0
        self._offset = 0
        kind = data.type.value_type if pa.types.is_dictionary(data.type) else data.type
        self._payload = self._fixed
        if pa.types.is_boolean(kind):
            self._payload = self._bools
        elif pa.types.is_timestamp(kind):
            self._dtype = np.dtype("<i8")
        elif kind in _FIXED:
            self._dtype = np.dtype(_FIXED[kind][1])
        else:
            self._payload = self._text

    def hash_rows(self, leaf: Any, start: int, rows: int) -> None:
        """Feed rows [start, start + rows) to the leaf; blocks must be asked for in order."""
        pieces = [_plain(piece) for piece in self._pieces(rows)]
        nulls = sum(piece.null_count for piece in pieces)
        leaf.update(_COUNTS.pack(rows, nulls))
        if nulls:
            leaf.update(_pack(np.concatenate([_valid(piece) for piece in pieces])))
        self._payload(leaf, pieces)

    def _pieces(self, rows: int) -> Iterator[pa.Array]:
        while rows:
            chunk = self._chunks[self._next]
            take = min(rows, len(chunk) - self._offset)
            yield chunk if take == len(chunk) else chunk.slice(self._offset, take)
            rows -= take
            self._offset += take
            if self._offset == len(chunk):
                self._next += 1
                self._offset = 0

    def _fixed(self, leaf: Any, pieces: list[pa.Array]) -> None:
        for piece in pieces:
            values = np.frombuffer(
                piece.buffers()[1], self._dtype, len(piece), piece.offset * self._dtype.itemsize
            )
            if piece.null_count:
                values = np.where(_valid(piece), values, self._dtype.type(0))
            if self._dtype.kind == "f":
                values = canonical_floats(values)
            leaf.update(values)

    def _bools(self, leaf: Any, pieces: list[pa.Array]) -> None:
        bits = []
        for piece in pieces:
            values = _bits(piece.buffers()[1], piece.offset, len(piece))
            bits.append(values & _valid(piece) if piece.null_count else values)
        leaf.update(_pack(np.concatenate(bits)))

    def _text(self, leaf: Any, pieces: list[pa.Array]) -> None:
        data: list[memoryview] = []
        for piece in pieces:
            lengths, text = _text_parts(piece)
            leaf.update(lengths)
            data.append(text)
        for text in data:
            leaf.update(text)


def _plain(piece: pa.Array) -> pa.Array:
    """The piece as the plain layout of its type: no dictionary, no views, times in microseconds."""
    if isinstance(piece, pa.DictionaryArray):
        if piece.type.value_type in _VIEWS:
            # Arrow cannot look views up by their index.
            values = piece.dictionary.cast(_VIEWS[piece.type.value_type])
            piece = pa.DictionaryArray.from_arrays(piece.indices, values, safe=False)
        piece = piece.dictionary_decode()
    kind = piece.type
    if kind in _VIEWS:
        return piece.cast(_VIEWS[kind])
    if pa.types.is_timestamp(kind) and kind.unit != "us":
        try:
            return piece.cast(pa.timestamp("us", tz=kind.tz))
        except pa.ArrowInvalid as error:
            raise ValidationFailed(f"a time does not fit microseconds: {error}") from error
    return piece


def _bits(buffer: pa.Buffer, offset: int, count: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    first = offset // 8
    packed = np.frombuffer(buffer, np.uint8, (offset + count + 7) // 8 - first, first)
    skip = offset - first * 8
    return np.unpackbits(packed, count=skip + count, bitorder="little")[skip:].view(np.bool_)


def _valid(piece: pa.Array) -> np.ndarray[Any, np.dtype[np.bool_]]:
    buffer = piece.buffers()[0]
    if buffer is None:
        return np.ones(len(piece), np.bool_)
    return _bits(buffer, piece.offset, len(piece))


def _pack(bits: np.ndarray[Any, np.dtype[np.bool_]]) -> bytes:
    return np.packbits(bits, bitorder="little").tobytes()


def _text_parts(piece: pa.Array) -> tuple[np.ndarray[Any, Any], memoryview]:
    """The u32 length of every value (0 for null) and the bytes of the non-null ones."""
    dtype = np.dtype(
        "<i8"
        if pa.types.is_large_string(piece.type) or pa.types.is_large_binary(piece.type)
        else "<i4"
    )
    _, offset_buffer, data = piece.buffers()
    offsets = np.frombuffer(offset_buffer, dtype, len(piece) + 1, piece.offset * dtype.itemsize)
    lengths = offsets[1:] - offsets[:-1]
    if piece.null_count:
        null = ~_valid(piece)
        if null.all():
            return np.zeros(len(piece), "<u4"), memoryview(b"")
        if lengths[null].any():
            compact, text = _text_parts(piece.drop_null())
            spread = np.zeros(len(piece), "<u4")
            spread[~null] = compact
            return spread, text
    if dtype.itemsize == 8 and len(lengths) and lengths.max() > 0xFFFFFFFF:
        raise ValidationFailed("a text of 4 GiB or more has no content hash")
    text = memoryview(b"") if data is None else memoryview(data)[offsets[0] : offsets[-1]]
    return lengths.astype("<u4", copy=False), text
