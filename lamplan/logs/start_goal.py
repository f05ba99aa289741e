"""A start and a goal of an arm in one NumPy file, as V-JEPA 2 publishes its Franka example: `observations` and `states`."""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from functools import partial
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from lamplan.errors import DataError
from lamplan.logs.episode import Episode

NAME = "start and goal of an arm (.npz with observations (B, T, H, W, 3) and states (B, T, 7))"
CAMERA = "exterior_image"
# The file keeps no clock. Its step is read as one of the model's, a quarter of a second, as in the example that it comes from.
RATE_HZ = 4.0
MAX_BYTES = 2**28
# NumPy reads an array's header with Python's own parser, which adds its errors to those of the archive.
BROKEN = (OSError, ValueError, LookupError, EOFError, TypeError, AttributeError, SyntaxError, RuntimeError, MemoryError, OverflowError,
          tokenize.TokenError, zlib.error, zipfile.BadZipFile)


def recognises(path: Path) -> bool:
    """A NumPy archive that has both arrays."""
    try:
        with zipfile.ZipFile(path) as archive:
            return path.suffix == ".npz" and {"observations.npy", "states.npy"} <= set(archive.namelist())
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return False


def read(path: Path) -> list[Episode]:
    """One episode of T steps, usually two, for each of the B rows. There are no commands."""
    try:
        with zipfile.ZipFile(path) as archive:
            images, states = (_array(archive, name) for name in ("observations.npy", "states.npy"))
    except BROKEN as error:
        raise DataError(f"{path} cannot be read as a NumPy archive ({str(error)[:200]}); it is damaged or of another format.") from None
    if images.dtype != np.uint8 or images.ndim != 5 or images.shape[4] != 3 or 0 in images.shape:
        raise DataError(f"{path}: 'observations' must be uint8 images (B, T, H, W, 3), found {images.dtype} {images.shape}.")
    if states.dtype.kind not in "iuf" or states.shape != (*images.shape[:2], 7):
        raise DataError(f"{path}: 'states' must have shape {(*images.shape[:2], 7)}, one pose and gripper per image; found {states.shape}.")
    if not np.isfinite(states).all():
        raise DataError(f"{path}: 'states' hold a NaN or an infinity.")
    return [Episode(pose, None, RATE_HZ, (CAMERA,), f"{path}: row {row}", partial(_frames, seen), "panda")
            for row, (pose, seen) in enumerate(zip(states.astype(np.float64), images, strict=True))]


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """A member of the archive, which must be just as large as it says; never an object."""
    if archive.getinfo(name).file_size > MAX_BYTES:
        raise ValueError(f"{name} claims {archive.getinfo(name).file_size >> 20} MB")
    with archive.open(name) as file:
        version = npy.read_magic(file)
        header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version]
        shape, fortran, dtype = header(file)
        if dtype.hasobject or math.prod(shape) * dtype.itemsize > MAX_BYTES:
            raise ValueError(f"{name} holds {dtype} {shape}, not plain numbers of a possible size")
        content = file.read(MAX_BYTES + 1)
    if len(content) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{name} has {len(content)} bytes for {dtype} {shape}")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


def _frames(images: np.ndarray, camera: str, steps: np.ndarray) -> np.ndarray:
    return images[steps]
