"""Candles as a Hive-partitioned folder of Parquet files, replaced as a whole.

A new dataset is built beside the old one, under a hidden name, and changes places with it. A marker
file says that the folder is a dataset and lists its files: a folder without it, or with other files
in it, belongs to somebody and is left alone.
"""

import ctypes
import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from quantlab_assets.adapters.file_lock import exclusive
from quantlab_assets.adapters.whole_files import sync
from quantlab_assets.domain.artifacts.seed_types import OHLCV_SLICE
from quantlab_assets.domain.errors import Conflict, StoreUnavailable
from quantlab_assets.ports.candle_dataset import DatasetContent, DatasetRecipe

MARKER: Final = "_quantlab_candles.json"
BUILDING: Final = "_quantlab_building"
FILE: Final = "candles.parquet"
ROW_GROUP_ROWS: Final = 122_880

_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2


class CandleDatasetFolder:
    """The dataset in one folder. Implements `CandleDataset`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._building = self._beside("building")
        self._old = self._beside("old")

    def content(self) -> DatasetContent | None:
        """See `CandleDataset`."""
        marker = self._folder / MARKER
        self._check_ours()
        if not marker.is_file():
            return None
        try:
            marked = json.loads(marker.read_text("utf-8"))
            content = DatasetContent(
                self._folder, DatasetRecipe(**marked["recipe"]), marked["rows"], marked["files"]
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None
        whole = all(
            (path := self._folder / name).is_file() and path.stat().st_size == size
            for name, size in content.files.items()
        )
        return content if whole else None

    @contextmanager
    def replace(self, recipe: DatasetRecipe) -> Iterator["_Files"]:
        """See `CandleDataset`."""
        try:
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            with exclusive(self._beside("lock"), wait=False) as locked:
                if not locked:
                    raise Conflict(f"another process is exporting to {self._folder}; wait for it")
                self._recover()
                self._check_ours()
                self._building.mkdir()
                try:
                    (self._building / BUILDING).touch()
                    files = _Files(self._building)
                    with files:
                        yield files
                    self._finish(recipe, files)
                    self._change_places()
                finally:
                    shutil.rmtree(self._building, ignore_errors=True)
        except OSError as error:
            raise StoreUnavailable(
                f"cannot write the dataset {self._folder}: {error.strerror}"
            ) from error

    def _beside(self, purpose: str) -> Path:
        return self._folder.with_name(f".{self._folder.name}.quantlab-{purpose}")

    def _recover(self) -> None:
        """Clear away what a killed export left; if it was between two renames, undo the first."""
        if self._old.exists() and not self._folder.exists():
            self._old.rename(self._folder)
        for left in (self._building, self._old):
            if not left.exists():
                continue
            if not any((left / name).exists() for name in (MARKER, BUILDING)) and any(
                left.iterdir()
            ):
                raise Conflict(f"{left} is in the way and not quantlab's; move it away")
            shutil.rmtree(left)

    def _check_ours(self) -> None:
        """Raise `Conflict` if the folder is there and is something else, or has more in it."""
        if not self._folder.exists():
            return
        if not self._folder.is_dir():
            raise Conflict(f"{self._folder} is a file; name a folder for the dataset")
        marker = self._folder / MARKER
        if not marker.is_file():
            if any(self._folder.iterdir()):
                raise Conflict(
                    f"{self._folder} is not empty and no dataset of quantlab; name another folder"
                )
            return
        try:
            known = set(json.loads(marker.read_text("utf-8"))["files"])
        except (OSError, ValueError, KeyError, TypeError):
            known = set()
        present = {
            path.relative_to(self._folder).as_posix()
            for path in self._folder.rglob("*")
            if not path.is_dir() or path.is_symlink()
        }
        strange = sorted(present - known - {MARKER})
        if strange:
            raise Conflict(
                f"{self._folder} has files that are not the dataset's, as {strange[0]!r}; move "
                "them away"
            )

    def _finish(self, recipe: DatasetRecipe, files: "_Files") -> None:
        """Write the marker, and have everything on the disk."""
        document = {"recipe": asdict(recipe), "rows": files.rows, "files": files.sizes()}
        marker = self._building / MARKER
        marker.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", "utf-8")
        (self._building / BUILDING).unlink()
        for path in sorted(self._building.rglob("*")):
            sync(path)
        sync(self._building)

    def _change_places(self) -> None:
        if not self._folder.exists() or not any(self._folder.iterdir()):
            self._building.rename(self._folder)
        elif not _exchange(self._building, self._folder):
            self._folder.rename(self._old)
            self._building.rename(self._folder)
            shutil.rmtree(self._old)
        sync(self._folder.parent)


class _Files:
    """The files of a dataset being built; those of one bucket are open at a time."""

    def __init__(self, folder: Path) -> None:
        self.rows = 0
        self._folder = folder
        self._bucket: int | None = None
        self._open: dict[str, pq.ParquetWriter] = {}
        self._stack = ExitStack()

    def __enter__(self) -> "_Files":
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def write(self, bucket: int, month: str, candles: pa.Table) -> None:
        """See `DatasetWriter`."""
        if bucket != self._bucket:
            self._stack.close()
            self._open.clear()
            self._bucket = bucket
        if month not in self._open:
            folder = self._folder / f"bucket={bucket}" / f"month={month}"
            folder.mkdir(parents=True)
            self._open[month] = self._stack.enter_context(_writer(folder / FILE))
        self._open[month].write_table(candles, row_group_size=ROW_GROUP_ROWS)
        self.rows += candles.num_rows

    def sizes(self) -> dict[str, int]:
        """The size of each file, by its path below the folder."""
        return {
            path.relative_to(self._folder).as_posix(): path.stat().st_size
            for path in sorted(self._folder.rglob("*.parquet"))
        }


def _writer(path: Path) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        path,
        OHLCV_SLICE.schema,
        compression="zstd",
        use_dictionary=list(OHLCV_SLICE.dictionary_columns),
        column_encoding={"ts": "DELTA_BINARY_PACKED"},
        write_page_checksum=True,
    )


def _exchange(first: Path, second: Path) -> bool:
    """Let two paths change places in one step; False where the system cannot."""
    try:
        rename: Any = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    paths = (_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second))
    if rename(*paths, ctypes.c_uint(_RENAME_EXCHANGE)) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), str(second))
