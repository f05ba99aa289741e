"""TFRecord files: a row of byte strings, each with its length and with checksums of both."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lamplan.errors import DataError

# Layout of a record: length (8 bytes, little end first), its checksum (4), the data, their checksum (4).
HEAD, TAIL = 12, 4
# An episode that claims more is damaged: a thousand steps of three 640 x 480 PNGs have about this size.
MAX_RECORD = 2**30
GZIP = b"\x1f\x8b"


def require_crc32c() -> Callable[[bytes], int]:
    """The checksum CRC-32C, from a package that only the extra `logs` installs."""
    try:
        from google_crc32c import value
    except ImportError:
        raise DataError("robot logs in TFRecord (RLDS) need the package google-crc32c: pip install 'lamplan[logs]'.") from None
    return value


def masked_crc(data: bytes) -> int:
    """The checksum as TFRecord stores it: rotated and shifted, so that data which hold checksums do not spoil it."""
    crc = require_crc32c()(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def index_records(path: Path) -> np.ndarray:
    """Place and length in bytes (N, 2) of every record's data. Reads only the lengths, so it is fast in large files.

    Raises DataError when a length is wrong or the file ends within a record.
    """
    found: list[tuple[int, int]] = []
    try:
        with path.open("rb", buffering=0) as file:
            size, place = os.fstat(file.fileno()).st_size, 0
            while place < size:
                file.seek(place)
                head = file.read(HEAD)
                length = _length(head, path, place)
                if place + HEAD + length + TAIL > size:
                    raise DataError(f"{path} ends within record {len(found)}; it is cut short, copy it anew.")
                found.append((place + HEAD, length))
                place += HEAD + length + TAIL
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}).") from None
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def read_record(path: Path, place: int, length: int) -> bytes:
    """The data of one record, checked against their checksum."""
    try:
        with path.open("rb") as file:
            file.seek(place)
            data = file.read(length + TAIL)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}).") from None
    if len(data) != length + TAIL or struct.unpack("<I", data[length:])[0] != masked_crc(data[:length]):
        raise DataError(f"{path}: the record at byte {place} has a wrong checksum; the file is damaged, copy it anew.")
    return data[:length]


def _length(head: bytes, path: Path, place: int) -> int:
    if len(head) == HEAD:
        length, crc = struct.unpack("<QI", head)
        if crc == masked_crc(head[:8]) and length <= MAX_RECORD:
            return int(length)
    if place == 0 and head.startswith(GZIP):
        raise DataError(f"{path} is compressed; unpack it first (gunzip).")
    raise DataError(f"{path} is no TFRecord file, or damaged: no record of sane length begins at byte {place}.")
