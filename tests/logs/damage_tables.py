"""Damage within a table's own format: Parquet columns, TFRecord messages, members of a NumPy archive."""

import io
import random
import struct
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lamplan.logs.tfrecord import masked_crc
from tests.logs.damage_bytes import spoilt


def spoil_parquet(path: Path, rng: random.Random) -> None:
    """A column gone, doubled, or of another type or shape; or other rows."""
    table = pq.read_table(io.BytesIO(path.read_bytes()))
    place, length = rng.randrange(table.num_columns), table.num_rows
    name = table.column_names[place]
    others = [
        pa.array(["x"] * length), pa.nulls(length), pa.array([[]] * length, pa.list_(pa.float32())), pa.array([None, *range(1, length)]),
        pa.array([np.nan] * length), pa.array([2**62] * length), pa.array([-1] * length), pa.array([[[1.0], [2.0]]] * length),
        pa.array([[1.0] * (row % 3 + 1) for row in range(length)]), pa.array([{"bytes": b"no picture", "path": "/etc/passwd"}] * length),
        pa.array([{"bytes": None, "path": "/etc/passwd"}] * length), pa.array([b"\x89PNG\r\n\x1a\n"] * length), pa.array([True] * length),
        pa.array([1e300] * length), pa.array([0] * length, pa.timestamp("s")), pa.array(list(range(length, 0, -1))),
    ]
    kind = rng.choice(("other",) * len(others) + ("gone", "doubled") + ("rows",) * 8)
    if kind == "other":
        table = table.set_column(place, name, rng.choice(others))
    elif kind == "gone":
        table = table.remove_column(place)
    elif kind == "doubled":
        table = table.append_column(name, table.column(place))
    else:
        table = table.take(pa.array([rng.randrange(length) for _ in range(rng.randrange(2 * length))], pa.int64()))
    pq.write_table(table, path)


def spoil_records(path: Path, rng: random.Random) -> None:
    """Damage within the first record's message under a right checksum, which its parser must survive; or another length."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    if rng.random() < 0.3:
        head = struct.pack("<Q", int(2 ** rng.uniform(0, 63)))
        path.write_bytes(head + struct.pack("<I", masked_crc(head)) + content[12:])
        return
    message = spoilt(content[12 : 12 + length], rng)
    head = struct.pack("<Q", len(message))
    path.write_bytes(head + struct.pack("<I", masked_crc(head)) + message + struct.pack("<I", masked_crc(message)) + content[16 + length :])


class Runs:
    """What would leave a trace if it were ever unpickled."""

    def __reduce__(self) -> tuple:
        return eval, ("open('/tmp/lamplan-was-unpickled', 'w')",)


def spoil_npz(path: Path, rng: random.Random) -> None:
    """An array of the archive as objects, huge, of another type or shape, gone, or under a name that leads out of the folder."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    name = rng.choice(list(arrays))
    values, members = arrays.pop(name), {}
    other = rng.choice((np.array([Runs()], object), values.astype("U"), values.astype("c16"), values[..., :0], values[0], values.T,
                        np.repeat(values, 2, axis=0), np.full(values.shape, np.nan), values.astype("M8[s]"),
                        b"\x93NUMPY\x01\x00", b"", None))
    if isinstance(other, np.ndarray):
        target = io.BytesIO()
        np.save(target, other, allow_pickle=True)
        members[f"{name}.npy"] = target.getvalue()
    elif other is not None:
        shape = rng.choice(("(1099511627776,)", "(2, 1048576, 1048576, 3)", "((),)", "(-1,)", "(True,)"))
        members[f"{name}.npy"] = other + (f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}".ljust(119) + "\n").encode()
    if rng.random() < 0.2:
        members[rng.choice(("../../outside.npy", "/tmp/outside.npy", f"{name}.npy/x", "\\..\\x"))] = b"x"
    for kept, array in arrays.items():
        target = io.BytesIO()
        np.save(target, array)
        members[f"{kept}.npy"] = target.getvalue()
    with zipfile.ZipFile(path, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
