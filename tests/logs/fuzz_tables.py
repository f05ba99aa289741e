"""Damage to a data set, of every kind that a disk, a network or a hostile author may do, and what must hold for its reader."""

import io
import json
import resource
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lamplan.errors import DataError
from lamplan.logs import open_log
from lamplan.logs.tfrecord import masked_crc

HOSTILE: list[Any] = [None, True, -1, 0, 1, 2**31, 2**63, 2**70, 1e308, float("nan"), float("inf"), "", "x", "../../etc/passwd",
                      "/etc/passwd", "{episode_index.__class__}", "{0}", "{", "%s", "\0", "a" * 5000, [], {}, [[]], [1], ["x"], {"x": 1},
                      [2**40, 2**40, 3], "v3.0", "v2.1", "float32", "video", "image", "9" * 5000]
SECONDS, BYTES = 10.0, 2**31


def fuzz(make: Callable[[Path], Path], root: Path, count: int, seed: int) -> dict[str, int]:
    """Damages a data set `count` times, each time anew, and reads all of it. Returns how often it was read and how often refused.

    Whatever the damage, there must be episodes or a DataError, in little time and memory.
    """
    make(root)
    files = {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
    rng = np.random.default_rng(seed)
    outcome = {"read": 0, "refused": 0}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(count):
        path = list(files)[rng.integers(len(files))]
        damage = damages(path)[rng.integers(len(damages(path)))]
        begin = time.monotonic()
        try:
            path.write_bytes(damage(files[path], rng))
            outcome[read_all(root)] += 1
        except Exception as error:
            raise AssertionError(f"damage {number} of seed {seed}, {damage.__name__} of {path.name}: {error!r}") from error
        finally:
            path.write_bytes(files[path])
        assert time.monotonic() - begin < SECONDS, f"damage {number} of seed {seed} takes {time.monotonic() - begin:.0f} s"
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) * 1024 < BYTES
    return outcome


def read_all(root: Path) -> str:
    """Reads every number and picture; "read" or "refused"."""
    try:
        log = open_log(root)
        for number in range(min(len(log), 20)):
            episode = log[number]
            assert episode.states.dtype == np.float64 and np.isfinite(episode.states).all() and len(episode) > 0
            assert episode.actions is None or (len(episode.actions) == len(episode) and np.isfinite(episode.actions).all())
            assert 0 < episode.rate_hz < np.inf
            for camera in episode.cameras:
                assert len(episode.frames(camera, slice(0, None, 2))) == len(range(0, len(episode), 2))
    except DataError as error:
        assert str(root) in str(error) and len(str(error)) < 3000, error
        return "refused"
    return "read"


def damages(path: Path) -> list[Callable[[bytes, np.random.Generator], bytes]]:
    plain = [flip, cut, zero, repeat]
    if path.suffix in (".json", ".jsonl"):
        return [*plain, json_value, json_value, json_value, json_value]
    if path.suffix == ".parquet":
        return [*plain, parquet_column, parquet_column, parquet_rows]
    return [*plain, record_content, record_content, record_length] if ".tfrecord" in path.name else plain


def flip(content: bytes, rng: np.random.Generator) -> bytes:
    values = np.frombuffer(content, np.uint8).copy()
    values[rng.integers(0, len(values), int(rng.integers(1, 20)))] = rng.integers(0, 256)
    return values.tobytes()


def cut(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: rng.integers(0, len(content))]


def zero(content: bytes, rng: np.random.Generator) -> bytes:
    begin, length = int(rng.integers(0, len(content))), int(rng.integers(1, 200))
    return (content[:begin] + b"\0" * length + content[begin + length :])[: len(content)]


def repeat(content: bytes, rng: np.random.Generator) -> bytes:
    begin, end = sorted(int(place) for place in rng.integers(0, len(content), 2))
    return content[:end] + content[begin:]


def json_value(content: bytes, rng: np.random.Generator) -> bytes:
    """Something hostile in the place of a value, at any depth; or a value gone."""
    lines = content.decode().splitlines()
    number = int(rng.integers(len(lines)))
    table = json.loads(lines[number])
    spots: list[tuple[Any, Any]] = []
    waiting = [table]
    while waiting:
        node = waiting.pop()
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in items:
            spots.append((node, key))
            waiting += [value] if isinstance(value, dict | list) else []
    node, key = spots[rng.integers(len(spots))]
    if rng.random() < 0.2:
        del node[key]
    else:
        node[key] = HOSTILE[rng.integers(len(HOSTILE))]
    return "\n".join([*lines[:number], json.dumps(table), *lines[number + 1 :]]).encode()


def parquet_column(content: bytes, rng: np.random.Generator) -> bytes:
    """A column gone, doubled, or of another type or shape."""
    table = pq.read_table(io.BytesIO(content))
    place = int(rng.integers(table.num_columns))
    name, length = table.column_names[place], table.num_rows
    others = [
        pa.array(["x"] * length), pa.nulls(length), pa.array([[]] * length, pa.list_(pa.float32())), pa.array([None, *range(1, length)]),
        pa.array([np.nan] * length), pa.array([2**62] * length), pa.array([-1] * length), pa.array([[[1.0], [2.0]]] * length),
        pa.array([[1.0] * (row % 3 + 1) for row in range(length)]), pa.array([{"bytes": b"no picture", "path": "/etc/passwd"}] * length),
        pa.array([{"bytes": None, "path": "/etc/passwd"}] * length), pa.array([b"\x89PNG\r\n\x1a\n"] * length), pa.array([True] * length),
        pa.array([1e300] * length), pa.array([0] * length, pa.timestamp("s")), pa.array(list(range(length, 0, -1))),
    ]
    choice = int(rng.integers(len(others) + 2))
    if choice == len(others):
        table = table.remove_column(place)
    elif choice > len(others):
        table = table.append_column(name, table.column(place))
    else:
        table = table.set_column(place, name, others[choice])
    return stored(table)


def parquet_rows(content: bytes, rng: np.random.Generator) -> bytes:
    table = pq.read_table(io.BytesIO(content))
    return stored(table.take(pa.array(rng.integers(0, table.num_rows, int(rng.integers(0, 2 * table.num_rows))))))


def stored(table: pa.Table) -> bytes:
    target = io.BytesIO()
    pq.write_table(table, target)
    return target.getvalue()


def record_content(content: bytes, rng: np.random.Generator) -> bytes:
    """Damage within the first record's message, under a right checksum: what its parser must survive."""
    (length,) = struct.unpack("<Q", content[:8])
    message = [flip, cut, zero, repeat][rng.integers(4)](content[12 : 12 + length], rng)
    head = struct.pack("<Q", len(message))
    return b"".join([head, struct.pack("<I", masked_crc(head)), message, struct.pack("<I", masked_crc(message)), content[16 + length :]])


def record_length(content: bytes, rng: np.random.Generator) -> bytes:
    head = struct.pack("<Q", int(2 ** rng.uniform(0, 63)))
    return head + struct.pack("<I", masked_crc(head)) + content[12:]
