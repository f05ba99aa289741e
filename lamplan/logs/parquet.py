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
    try:
        with parquet.ParquetFile(path) as file:
            yield file
    # pyarrow's own exceptions derive from these.
    except (OSError, ValueError, KeyError, TypeError, IndexError, NotImplementedError, OverflowError, MemoryError) as error:
        reason = str(error).split("\n", 1)[0]
        raise DataError(f"{path} cannot be read as Parquet ({reason}); it is damaged, unfinished or of another format.") from None


def groups_of(file: Any, column: str, value: int) -> list[int]:
    """Row groups of an open file that may hold `value` in an integer column, by the statistics kept with each."""
    leaf = next((i for i in range(file.metadata.num_columns) if file.schema.column(i).path == column), None)
    if leaf is None:  # Whoever reads the column will say that it is missing, or no column of single numbers.
        return list(range(file.metadata.num_row_groups))
    chosen = []
    for group in range(file.metadata.num_row_groups):
        known = file.metadata.row_group(group).column(leaf).statistics
        if known is None or not known.has_min_max or known.min <= value <= known.max:
            chosen.append(group)
    return chosen


def read_columns(file: Any, names: Sequence[str], where: str, groups: Sequence[int] | None = None) -> dict[str, np.ndarray]:
    """Columns of an open file as arrays (T,) or (T, W): int64 or float64. DataError names what is missing or no number."""
    missing = [name for name in names if file.schema_arrow.get_field_index(name) < 0]
    if missing:
        raise DataError(f"{where} has no column {', '.join(missing)}; it has {', '.join(file.schema_arrow.names)[:300]}.")
    groups = range(file.metadata.num_row_groups) if groups is None else groups
    _check_size(file, names, groups, where)
    table = file.read_row_groups(list(groups), columns=list(names), use_threads=False)
    return {name: _numbers(table.column(name), f"{where}: column '{name}'") for name in names}


def read_images(file: Any, name: str, groups: Sequence[int], rows: np.ndarray, where: str) -> list[bytes]:
    """Encoded images of a column {bytes, path} at rising rows of some row groups, reading no further than needed."""
    if file.schema_arrow.get_field_index(name) < 0:
        raise DataError(f"{where} has no column '{name}'.")
    found: list[bytes] = []
    first, rows = 0, np.asarray(rows)
    for batch in file.iter_batches(batch_size=64, row_groups=list(groups), columns=[name], use_threads=False):
        inside = rows[(rows >= first) & (rows < first + len(batch))] - first
        for row in inside:
            value = batch.column(0)[int(row)].as_py()
            data = value.get("bytes") if isinstance(value, dict) else value
            if not isinstance(data, bytes):
                raise DataError(f"{where}: '{name}' holds no image in the file at row {first + row} but {type(data).__name__}.")
            found.append(data)
        first += len(batch)
        if not len(rows) or first > rows[-1]:
            break
    return found


def _check_size(file: Any, names: Sequence[str], groups: Sequence[int], where: str) -> None:
    leaves = [i for i in range(file.metadata.num_columns) if file.schema.column(i).path.split(".list.", 1)[0] in names]
    claimed = sum(max(file.metadata.row_group(group).column(leaf).total_uncompressed_size, 0) for group in groups for leaf in leaves)
    if claimed > MAX_BYTES or sum(file.metadata.row_group(group).num_rows for group in groups) > MAX_BYTES // 8:
        raise DataError(f"{where} claims {claimed / 2**30:.1f} GiB of numbers at once; it is damaged.")


def _numbers(column: Any, where: str) -> np.ndarray:
    import pyarrow as pa

    array = column.combine_chunks() if not isinstance(column, pa.Array) else column
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
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
