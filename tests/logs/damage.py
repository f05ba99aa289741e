"""Ways to spoil a recorded file or folder: what fits its format, its bytes, and the files themselves."""

import json
import random
import shutil
from pathlib import Path

from tests.logs.damage_bytes import spoil_bytes
from tests.logs.damage_hdf5 import spoil_hdf5
from tests.logs.damage_tables import spoil_npz, spoil_parquet, spoil_records

JSONS = ("", "{", "[]", "null", "3", "[" * 50_000, '{"env_kwargs": 3}', '{"control_freq": "nan"}', '{"ext1_cam_serial": [[]]}',
         '{"wrist_cam_serial": "../../../etc/passwd", "ext1_mp4_path": "/etc/passwd"}', '{"ext1_cam_serial": NaN}', '{"a": 1e999}')
HOSTILE = (None, True, -1, 0, 1, 2**31, 2**63, 2**70, 1e300, 1e308, float("nan"), float("inf"), "", "x", "../..", "../../etc/passwd",
           "/etc/passwd", "{episode_index.__class__}", "{0}", "{", "%s", "\0", "a" * 5000, [], {}, [[]], [1], ["x"], {"x": 1},
           [2**40, 2**40, 3], "v3.0", "v2.1", "float32", "video", "image", "9" * 5000)


def spoil_json(path: Path, rng: random.Random) -> None:
    """Other JSON; or, in one line of it, a value at any depth gone or replaced by something hostile."""
    if rng.random() < 0.2:
        path.write_text(rng.choice(JSONS))
        return
    lines = path.read_text().splitlines()
    number = rng.randrange(len(lines))
    table = json.loads(lines[number])
    spots, waiting = [], [table]
    while waiting:
        node = waiting.pop()
        for key, value in list(node.items() if isinstance(node, dict) else enumerate(node)):
            spots.append((node, key))
            waiting += [value] if isinstance(value, dict | list) else []
    node, key = rng.choice(spots)
    if rng.random() < 0.2:
        del node[key]
    else:
        node[key] = rng.choice(HOSTILE)
    path.write_text("\n".join([*lines[:number], json.dumps(table), *lines[number + 1 :]]))


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


FITTING = {".h5": spoil_hdf5, ".hdf5": spoil_hdf5, ".json": spoil_json, ".jsonl": spoil_json, ".pkl": spoil_pickle, ".npz": spoil_npz,
           ".parquet": spoil_parquet}


def spoil(folder: Path, rng: random.Random) -> None:
    """Spoils one file of a folder in one of the ways that fit it."""
    path = rng.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    fitting = spoil_records if ".tfrecord" in path.name else FITTING.get(path.suffix, spoil_bytes)
    rng.choices((fitting, spoil_bytes, spoil_file), (5, 4, 1))[0](path, rng)


def copy(original: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(original, folder)
