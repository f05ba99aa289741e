"""Careful reading of HDF5: only plain numbers that lie in the file itself, never an object, never another file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from lamplan.errors import DataError

# An array that claims more than this is damaged or hostile: an hour of 256 px images at 10 Hz is 7 GB.
MAX_BYTES = 16 * 2**30


def require_h5py() -> ModuleType:
    """The module h5py, which only the extra `logs` installs."""
    try:
        import h5py
    except ImportError:
        raise DataError("robot logs in HDF5 need the package h5py: pip install 'lamplan[logs]'.") from None
    return h5py


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """The file, open for reading; whatever h5py finds wrong in it becomes a DataError."""
    h5py = require_h5py()
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        raise DataError(f"{path} cannot be read as HDF5 ({error}); it is damaged, unfinished or of another format.") from None


def child(group: Any, name: str, where: str) -> Any:
    """Member `name` of a group, None when absent. Links out of the file or to another place in it are refused."""
    h5py = require_h5py()
    link = group.get(name, getlink=True)
    if link is None:
        return None
    if not isinstance(link, h5py.HardLink):
        raise DataError(f"{where}: '{name}' is a link to another place or file; copy the data into the log itself.")
    return group[name]


def subgroup(group: Any, name: str, where: str) -> Any:
    """Group `name`, None when absent; DataError when it is no group."""
    found = child(group, name, where)
    if found is not None and not isinstance(found, require_h5py().Group):
        raise DataError(f"{where}: '{name}' must be a group, found a data set.")
    return found


def dataset(group: Any, name: str, where: str) -> Any:
    """Data set `name` of plain integers or floats stored in this file, None when absent."""
    found = child(group, name, where)
    if found is None:
        return None
    if not isinstance(found, require_h5py().Dataset):
        raise DataError(f"{where}: '{name}' must be a data set, found a group.")
    if found.dtype.kind not in "iuf":
        raise DataError(f"{where}: '{name}' must hold numbers, found values of type {found.dtype}.")
    if found.is_virtual or found.external:
        raise DataError(f"{where}: '{name}' keeps its values in another file; copy the data into the log itself.")
    if found.shape is None or found.size * found.dtype.itemsize > MAX_BYTES:
        raise DataError(f"{where}: '{name}' has the impossible shape {found.shape}; the file is damaged.")
    return found


def numbers(group: Any, name: str, where: str) -> np.ndarray | None:
    """Values (T, anything) of data set `name` as float64, None when absent; DataError when not 2-D or not finite."""
    found = dataset(group, name, where)
    if found is None:
        return None
    if found.ndim != 2 or 0 in found.shape:
        raise DataError(f"{where}: '{name}' must have shape (T, dimensions) with T at least 1, found {found.shape}.")
    values = np.asarray(found[()], dtype=np.float64)
    if not np.isfinite(values).all():
        step = int(np.argwhere(~np.isfinite(values))[0, 0])
        raise DataError(f"{where}: '{name}' holds a NaN or an infinity at step {step}; leave this episode out of the log.")
    return values


def text(group: Any, name: str) -> str | None:
    """Attribute `name` when it is text, else None."""
    value = group.attrs.get(name)
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return value if isinstance(value, str) else None
