"""Ways to spoil a recorded file or folder: bytes, HDF5 objects, JSON, pickles, and the files themselves."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

CANARY = 77_777.0
"""The value in files that no log may lead to."""


def spoil_bytes(path: Path, rng: random.Random) -> None:
    """Cuts, flips, zeroes, repeats or enlarges some bytes."""
    content = bytearray(path.read_bytes())
    if not content:
        return
    # Headers stand at the beginning or the end, and matter more than what is between.
    near = rng.choice((len(content), 512, 4096))
    place = rng.randrange(min(near, len(content))) if rng.random() < 0.6 else len(content) - 1 - rng.randrange(min(near, len(content)))
    length = rng.choice((1, 4, 8, 64))
    kind = rng.randrange(6)
    if kind == 0:
        del content[place:]
    elif kind == 1:
        for _ in range(rng.choice((1, 3, 20))):
            content[(place + rng.randrange(64)) % len(content)] = rng.randrange(256)
    elif kind == 2:
        content[place : place + length] = bytes(length)
    elif kind == 3:
        content[place : place + length] = rng.choice((b"\xff", b"\x7f", b"\x80")) * length
    elif kind == 4:
        content[place:place] = content[place : place + length]
    else:
        del content[place : place + length]
    path.write_bytes(bytes(content))


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
JSONS = ("", "{", "[]", "null", "3", "[" * 50_000, '{"env_kwargs": 3}', '{"control_freq": "nan"}', '{"ext1_cam_serial": [[]]}',
         '{"wrist_cam_serial": "../../../etc/passwd", "ext1_mp4_path": "/etc/passwd"}', '{"ext1_cam_serial": NaN}', '{"a": 1e999}')


def spoil_json(path: Path, rng: random.Random) -> None:
    """Other JSON, or one value of another type."""
    if rng.random() < 0.5:
        path.write_text(rng.choice(JSONS))
        return
    table = json.loads(path.read_text())
    table[rng.choice(list(table))] = rng.choice((None, -1, 1e300, "", "x" * 1000, [], {}, True, "../..", "/etc/passwd"))
    path.write_text(json.dumps(table))


INSTRUCTIONS = (b"(", b"]", b"}", b")", b"a", b"e", b"s", b"u", b"t", b"\x85", b"\x86", b"R", b"b", b"\x81", b"\x93", b"cos\nsystem\n",
                b"0", b"2", b"N", b"\x94", b"h\x00", b"j\xff\xff\xff\xff", b"r\xff\xff\xff\x7f", b"J\xff\xff\xff\x7f", b"\x8c\x02os",
                b"X\xff\xff\xff\x7f", b"\x8e" + b"\xff" * 8, b"\x8a\xff", b"\x97", b"\x98", b"Q", b"\x82\x01", b"o", b"1", b".")


def spoil_pickle(path: Path, rng: random.Random) -> None:
    """Instructions of a pickle put where they do not belong."""
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 2, 6))):
        place = rng.randrange(2, len(content) + 1)
        content[place : place + rng.choice((0, 0, 1, 3))] = rng.choice(INSTRUCTIONS)
    path.write_bytes(bytes(content))


def spoil_file(path: Path, rng: random.Random) -> None:
    """Takes a file away, or puts something else in its place."""
    path.unlink()
    kind = rng.randrange(6)
    if kind == 0:
        path.mkdir()
    elif kind == 1:
        path.write_bytes(b"")
    elif kind == 2:
        path.symlink_to(path)
    elif kind == 3:
        path.symlink_to("/etc/hostname")
    elif kind == 4:
        path.write_bytes(b"#EXTM3U\n#EXTINF:1,\n/etc/hostname\n")


def spoil(folder: Path, rng: random.Random) -> None:
    """Spoils one file of a folder in one of the ways that fit it."""
    path = rng.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    fitting = {".h5": spoil_hdf5, ".hdf5": spoil_hdf5, ".json": spoil_json, ".pkl": spoil_pickle}.get(path.suffix, spoil_bytes)
    rng.choices((fitting, spoil_bytes, spoil_file), (5, 4, 1))[0](path, rng)


def copy(original: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(original, folder)
