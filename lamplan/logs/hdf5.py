"""Careful reading of HDF5: only plain numbers that lie in the file itself, never an object, never another file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from lamplan.errors import DataError
from lamplan.logs.guarded import GuardedFile
from lamplan.logs.parts import check_finite

# An array that claims more than this is damaged or hostile: an hour of 256 px images at 10 Hz is 7 GB.
MAX_BYTES = 16 * 2**30
# Arrays of numbers are read as a whole, pieces and single images one at a time: a day of a robot's states at 50 Hz is 240 MB.
MAX_NUMBERS_BYTES = 2**28
MAX_CHUNK_BYTES = 2**30
MAX_PIXELS = 2**25
MAX_ENCODED_BYTES = 2**26


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
        with GuardedFile(path) as guarded, h5py.File(guarded, "r") as file:
            yield file
    except (OSError, LookupError, RuntimeError, ValueError, TypeError, OverflowError, MemoryError) as error:
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
    found = _array(group, name, where)
    if found is None:
        return None
    if found.dtype.kind not in "iuf":
        raise DataError(f"{where}: '{name}' must hold numbers, found values of type {found.dtype}.")
    return _plain(found, name, where)


def _array(group: Any, name: str, where: str) -> Any:
    """Data set `name` as it stands, None when absent; DataError when it is a group."""
    found = child(group, name, where)
    if found is not None and not isinstance(found, require_h5py().Dataset):
        raise DataError(f"{where}: '{name}' must be a data set, found a group.")
    return found


def _plain(found: Any, name: str, where: str) -> Any:
    """The data set, when its values lie in this file and are of a possible size."""
    if found.is_virtual or found.external:
        raise DataError(f"{where}: '{name}' keeps its values in another file; copy the data into the log itself.")
    if found.shape is None or found.size * found.dtype.itemsize > MAX_BYTES:
        raise DataError(f"{where}: '{name}' has the impossible shape {found.shape}; the file is damaged.")
    if found.chunks is not None and math.prod(found.chunks) * found.dtype.itemsize > MAX_CHUNK_BYTES:
        raise DataError(f"{where}: '{name}' is stored in pieces of the impossible shape {found.chunks}; the file is damaged.")
    return found


def group_at(file: Any, path: str, where: str) -> Any:
    """The group at `a/b/c`, None when any of its parts is absent."""
    found = file
    for name in path.split("/"):
        found = None if found is None else subgroup(found, name, where)
    return found


def numbers(group: Any, name: str, where: str) -> np.ndarray | None:
    """Values (T, anything) of data set `name` as float64, None when absent; DataError when not 2-D or not finite."""
    found = dataset(group, name, where)
    if found is None:
        return None
    if found.ndim != 2 or 0 in found.shape:
        raise DataError(f"{where}: '{name}' must have shape (T, dimensions) with T at least 1, found {found.shape}.")
    return _values(found, name, where)


def column(group: Any, name: str, where: str) -> np.ndarray | None:
    """Values (T,) of a data set (T,) or (T, 1) as float64, None when absent; DataError when of another shape or not finite."""
    found = dataset(group, name, where)
    if found is None:
        return None
    if found.ndim not in (1, 2) or 0 in found.shape or found.shape[1:] not in ((), (1,)):
        raise DataError(f"{where}: '{name}' must have shape (T,) with T at least 1, found {found.shape}.")
    return _values(found, name, where).reshape(-1)


def _values(found: Any, name: str, where: str) -> np.ndarray:
    if found.size * max(8, found.dtype.itemsize) > MAX_NUMBERS_BYTES:
        raise DataError(f"{where}: '{name}' has the impossible shape {found.shape}; the file is damaged.")
    values = np.asarray(found[()], dtype=np.float64)
    check_finite(values, f"{where}: '{name}'")
    return values


def image_set(group: Any, name: str, where: str) -> Any:
    """Data set `name` of plain images (T, H, W, 3) uint8, None when absent."""
    found = dataset(group, name, where)
    if found is None:
        return None
    if found.ndim != 4 or found.shape[3] != 3 or found.dtype != np.uint8:
        raise DataError(f"{where}: '{name}' must be uint8 images (T, H, W, 3), found {found.dtype} {found.shape}.")
    if found.shape[1] * found.shape[2] > MAX_PIXELS:
        raise DataError(f"{where}: '{name}' has images of the impossible size {found.shape[1]} x {found.shape[2]}; the file is damaged.")
    return found


def images_at(images: Any, steps: np.ndarray) -> np.ndarray:
    """Images (K, H, W, 3) of an `image_set` at the steps (K,)."""
    if len(steps) == len(images) and (steps == np.arange(len(steps))).all():
        return np.asarray(images[()])
    return np.stack([np.asarray(images[int(step)]) for step in steps]) if len(steps) else np.empty((0, *images.shape[1:]), np.uint8)


def encoded_set(group: Any, name: str, where: str) -> Any:
    """Data set `name` of T encoded images, each a string of fixed length or opaque bytes; None when absent."""
    found = _array(group, name, where)
    if found is None:
        return None
    kind = found.dtype
    if found.ndim != 1 or len(found) == 0 or not (kind.kind == "S" or (kind.kind == "V" and kind.names is None and kind.subdtype is None)):
        raise DataError(f"{where}: '{name}' must hold T encoded images as bytes, found values of type {kind} and shape {found.shape}.")
    if kind.itemsize > MAX_ENCODED_BYTES:
        raise DataError(f"{where}: '{name}' claims images of {kind.itemsize >> 20} MB each; the file is damaged.")
    return _plain(found, name, where)


def encoded_at(images: Any, step: int) -> bytes:
    """The bytes of one image of an `encoded_set`."""
    return images[step].tobytes()


def holds(path: Path, name: str) -> bool:
    """Whether a file is HDF5 and has a top-level group `name`. Never an error."""
    try:
        with open_hdf5(path) as file:
            return subgroup(file, name, str(path)) is not None
    except DataError:
        return False


def text(group: Any, name: str) -> str | None:
    """Attribute `name` when it is text, else None."""
    value = group.attrs.get(name)
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return value if isinstance(value, str) else None
