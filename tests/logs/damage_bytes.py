"""Damage to the bytes of a file, as a disk or a network does it."""

import random
from pathlib import Path


def spoil_bytes(path: Path, rng: random.Random) -> None:
    """Cuts, flips, zeroes, repeats or enlarges some bytes."""
    path.write_bytes(spoilt(path.read_bytes(), rng))


def spoilt(original: bytes, rng: random.Random) -> bytes:
    content = bytearray(original)
    if not content:
        return original
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
    return bytes(content)
