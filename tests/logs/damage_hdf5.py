"""Damage to one object of an HDF5 file: another type, shape or size, links out of the file, values kept elsewhere."""

import random
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

CANARY = 77_777.0
"""The value in files that no log may lead to."""


def put(name: str, value: object, inside: str = "") -> Callable[[Path], None]:
    """A change to an HDF5 file, or to the one `inside` a folder: `value` in the place of an object, None to take it away."""
    def change(path: Path) -> None:
        with h5py.File(path / inside, "r+") as file:
            if name in file:
                del file[name]
            if value is not None:
                file[name] = value

    return change


def spoil_hdf5(path: Path, rng: random.Random) -> None:
    """Replaces one object of the file by another kind of object."""
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        name = rng.choice(names)
        old = file[name]
        values = old[()] if isinstance(old, h5py.Dataset) else np.zeros((6, 7))
        shape = values.shape or (1,)
        change = rng.choice(REPLACEMENTS)
        del file[name]
        change(file, name, values, shape, path, rng)


def _wrong_type(file, name, values, shape, path, rng):
    text = h5py.string_dtype()
    kind = rng.choice(["f2", "i1", "u8", "?", "c16", "S3", "V5", [("a", "f4"), ("b", "i8")], text, h5py.ref_dtype,
                       h5py.enum_dtype({"open": 0, "closed": 1}), h5py.vlen_dtype(np.dtype("f8")), np.dtype((np.float32, (3,)))])
    file.create_dataset(name, shape, kind)


def _wrong_shape(file, name, values, shape, path, rng):
    new = rng.choice([(), (0,), (0, *shape[1:]), (*shape, 1), (1, *shape), shape[:1], shape[::-1], (shape[0] + 1, *shape[1:]),
                      (max(shape[0] - 1, 1), *shape[1:]), (1,) * 32])
    file.create_dataset(name, new, values.dtype if values.dtype.kind in "iufS" else "f8")


def _huge(file, name, values, shape, path, rng):
    new = rng.choice([(2**40,), (2**31, 7), (shape[0], 2**20, 2**20, 3), (shape[0], 2**14, 2**14, 3), (2**62,), (shape[0], 2**40)])
    kind = rng.choice(["u1", "f8", f"S{2**30}"])
    chunks = tuple(min(size, rng.choice((1, 64))) for size in new) if rng.random() < 0.7 else tuple(min(size, 2**13) for size in new)
    try:
        file.create_dataset(name, new, kind, chunks=chunks, compression=rng.choice((None, "gzip")))
    except (ValueError, OSError, OverflowError):
        file.create_group(name)


def _not_finite(file, name, values, shape, path, rng):
    file[name] = np.full(shape, rng.choice((np.nan, np.inf, -1e308, 1e308)))


def _link(file, name, values, shape, path, rng):
    canary = str(path.parent.parent / "canary.h5")
    file[name] = rng.choice((h5py.SoftLink("/"), h5py.SoftLink(f"/{name}"), h5py.SoftLink("/nowhere"), h5py.ExternalLink(canary, "values"),
                             h5py.ExternalLink("/etc/hostname", "/"), h5py.ExternalLink(path.name, name)))


def _cycle(file, name, values, shape, path, rng):
    file[name] = file["/"]


def _virtual(file, name, values, shape, path, rng):
    kind = values.dtype if values.dtype.kind in "iuf" else np.dtype("f8")
    layout = h5py.VirtualLayout(shape, kind)
    layout[...] = h5py.VirtualSource(str(path.parent.parent / "canary.h5"), "values", shape, kind)
    file.create_virtual_dataset(name, layout)


def _external(file, name, values, shape, path, rng):
    kind = values.dtype if values.dtype.kind in "iuf" else np.dtype("f8")
    file.create_dataset(name, shape, kind, external=[(str(path.parent.parent / "canary.h5"), 0, h5py.h5f.UNLIMITED)])


def _absent(file, name, values, shape, path, rng):
    pass


def _group(file, name, values, shape, path, rng):
    file.create_group(name)


REPLACEMENTS = (_wrong_type, _wrong_shape, _huge, _not_finite, _link, _cycle, _virtual, _external, _absent, _group)
