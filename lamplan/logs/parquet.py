"""Careful reading of Parquet: only plain numbers and encoded images, of sane size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from lamplan.errors import DataError

# Columns of numbers that claim more than this are damaged or hostile: a million steps of 100 numbers are 0.8 GB.
MAX_BYTES = 2**30
Between = tuple[str, int, int]
"""A column of integers and the bounds, lower in and upper out, of those rows that are wanted."""


def require_parquet() -> ModuleType:
    """The module pyarrow.parquet, which only the extra `logs` installs."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise DataError("robot logs in Parquet (LeRobot) need the package pyarrow: pip install 'lamplan[logs]'.") from None
    return pyarrow.parquet


@contextmanager
def open_parquet(path: Path) -> Iterator[Any]:
    """The file, open for reading; whatever pyarrow finds wrong in it becomes a DataError."""
    parquet = require_parquet()
    with _refusing(path), parquet.ParquetFile(path) as file:
        yield file


def read_columns(path: Path, names: Sequence[str], where: str, between: Between | None = None) -> dict[str, np.ndarray]:
    """Columns of a file as arrays (T,) or (T, W), int64 or float64. DataError names what is missing or no number."""
    import pyarrow as pa

    with _refusing(path):
        schema, batches = _scan(path, names, where, between, batch_size=2**16)
        found, size = [], 0
        for batch in batches:
            size += batch.nbytes
            if size > MAX_BYTES:
                raise DataError(f"{where} unpacks to more than {MAX_BYTES / 2**30:.0f} GiB of numbers at once; it is damaged.")
            found.append(batch)
        table = pa.Table.from_batches(found, schema)
        return {name: _numbers(table.column(name), f"{where}: column '{name}'") for name in names}


def read_images(path: Path, name: str, rows: np.ndarray, where: str, between: Between) -> list[bytes]:
    """Encoded images of a column {bytes, path}, at some of the rows that `between` leaves, reading no further than needed."""
    found: list[bytes] = []
    with _refusing(path):
        first, rows = 0, np.sort(rows)
        for batch in _scan(path, [name], where, between, batch_size=64)[1]:
            if not len(rows) or first > rows[-1]:
                break
            for row in rows[(rows >= first) & (rows < first + len(batch))] - first:
                value = batch.column(0)[int(row)].as_py()
                data = value.get("bytes") if isinstance(value, dict) else value
                if not isinstance(data, bytes):
                    raise DataError(f"{where}: '{name}' holds no image in the file at step {first + row} but {type(data).__name__}.")
                found.append(data)
            first += len(batch)
    if len(found) != len(rows):
        raise DataError(f"{where}: '{name}' has fewer images than states; the file is damaged.")
    return found


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    try:
        yield
    # pyarrow's own exceptions derive from these.
    except (OSError, ValueError, KeyError, TypeError, IndexError, NotImplementedError, OverflowError, MemoryError) as error:
        reason = str(error).split("\n", 1)[0]
        raise DataError(f"{path} cannot be read as Parquet ({reason}); it is damaged, unfinished or of another format.") from None


def _scan(path: Path, names: Sequence[str], where: str, between: Between | None, batch_size: int) -> tuple[Any, Iterator[Any]]:
    """Schema and batches of some columns, in the order of the rows.

    Row groups that the statistics rule out are not read. Never through `metadata.row_group`: where a damaged footer makes Parquet
    throw there, pyarrow takes the whole process down.
    """
    import pyarrow.dataset as ds
    from pyarrow.fs import LocalFileSystem

    options = ds.ParquetFragmentScanOptions(pre_buffer=False)
    fragment = ds.ParquetFileFormat(default_fragment_scan_options=options).make_fragment(str(path.absolute()), LocalFileSystem())
    schema = fragment.physical_schema
    missing = [name for name in (*names, *([between[0]] if between else [])) if schema.get_field_index(name) < 0]
    if missing:
        raise DataError(f"{where} has no column {', '.join(missing)[:300]}, or two of that name; it has {', '.join(schema.names)[:300]}.")
    chosen = None if between is None else (ds.field(between[0]) >= between[1]) & (ds.field(between[0]) < between[2])
    scanner = fragment.scanner(columns=list(names), filter=chosen, batch_size=batch_size, use_threads=False, batch_readahead=1,
                               fragment_readahead=1)
    return scanner.projected_schema, scanner.to_batches()


def _numbers(column: Any, where: str) -> np.ndarray:
    import pyarrow as pa

    array = column.combine_chunks()
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    shape: tuple[int, ...] = (len(array),)
    while pa.types.is_list(array.type) or pa.types.is_large_list(array.type) or pa.types.is_fixed_size_list(array.type):
        if array.null_count:
            raise DataError(f"{where} has missing values.")
        flat = array.flatten()
        width = len(flat) // len(array) if len(array) else 0
        lengths = np.diff(np.asarray(array.offsets)) if hasattr(array, "offsets") else np.full(len(array), width)
        if (lengths != width).any() or len(flat) != len(array) * width:
            raise DataError(f"{where} must hold the same number of values in every row.")
        array, shape = flat, (*shape, width)
    kind = array.type
    if array.null_count:
        raise DataError(f"{where} has missing values.")
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise DataError(f"{where} must hold numbers, found {kind}.")
    values = array.to_numpy(zero_copy_only=False)
    return values.astype(np.float64 if values.dtype.kind == "f" else np.int64).reshape(shape)
