"""`parse_example`: the values in a `tf.train.Example` or `SequenceExample`, read off the protobuf wire format itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from lamplan.errors import DataError

Span = tuple[int, int]
"""Begin and end of some bytes in a record."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
# Field numbers of the messages: Example{features=1}, SequenceExample{context=1, feature_lists=2}, both maps of key=1 to value=2.
FEATURES, FEATURE_LISTS = 1, 2
KEY, VALUE = 1, 2
KINDS: dict[int, Literal["bytes", "floats", "integers"]] = {1: "bytes", 2: "floats", 3: "integers"}


@dataclass
class Feature:
    """The values of one key: byte strings, floats or integers, in the order in which they stand in the record."""

    record: bytes = field(repr=False)
    kind: str = ""
    parts: list[Span] = field(default_factory=list)

    def spans(self) -> np.ndarray:
        """Begin and end (N, 2) of each byte string within the record."""
        found = [span for part in self.parts for number, wire, span in _fields(self.record, part) if (number, wire) == (1, BYTES)]
        return np.array(found if self.kind == "bytes" else [], dtype=np.int64).reshape(-1, 2)

    def texts(self) -> list[bytes]:
        return [self.record[begin:end] for begin, end in self.spans()]

    def numbers(self) -> np.ndarray:
        """Values (N,) as float64 or int64; none where the feature holds byte strings."""
        whole = self.kind == "integers"
        found = [np.empty(0, np.int64 if whole else np.float32)]
        for begin, end in (self.parts if self.kind in ("floats", "integers") else []):
            for number, wire, (first, last) in _fields(self.record, (begin, end)):
                data = np.frombuffer(self.record, np.uint8, last - first, first)
                if number == 1 and whole and wire in (VARINT, BYTES):
                    found.append(_varints(data))
                elif number == 1 and not whole and wire in (FIXED32, BYTES):
                    if len(data) % 4:
                        raise DataError("a list of floats ends within a number")
                    found.append(np.frombuffer(data.tobytes(), "<f4"))
        return np.concatenate(found).astype(np.int64 if whole else np.float64)


def parse_example(record: bytes) -> dict[str, Feature]:
    """Features by key; those of a SequenceExample's steps are joined in their order. DataError when the record is damaged."""
    found: dict[str, Feature] = {}
    for number, wire, span in _fields(record, (0, len(record))):
        if wire != BYTES or number not in (FEATURES, FEATURE_LISTS):
            continue
        for _, entry in _submessages(record, span, 1):
            key = next((record[begin:end] for _, (begin, end) in _submessages(record, entry, KEY)), b"")
            feature = Feature(record)
            for _, value in _submessages(record, entry, VALUE):
                steps = [value] if number == FEATURES else [step for _, step in _submessages(record, value, 1)]
                for step in steps:
                    _add(feature, record, step)
            found[key.decode("utf-8", errors="replace")] = feature
    return found


def _add(feature: Feature, record: bytes, message: Span) -> None:
    for number, wire, span in _fields(record, message):
        if wire == BYTES and number in KINDS:
            if feature.parts and feature.kind != KINDS[number]:
                raise DataError("one feature holds values of two kinds")
            feature.kind = KINDS[number]
            feature.parts.append(span)


def _submessages(record: bytes, message: Span, wanted: int) -> Iterator[tuple[int, Span]]:
    return ((number, span) for number, wire, span in _fields(record, message) if wire == BYTES and number == wanted)


def _fields(record: bytes, message: Span) -> Iterator[tuple[int, int, Span]]:
    """Number, wire type and place of the value of each field of a message."""
    place, end = message
    while place < end:
        key, place = _varint(record, place, end)
        begin, wire = place, key & 7
        if wire == BYTES:
            length, begin = _varint(record, place, end)
            place = begin + length
        elif wire == VARINT:
            _, place = _varint(record, place, end)
        elif wire in (FIXED32, FIXED64):
            place += 4 if wire == FIXED32 else 8
        else:
            raise DataError(f"a value of the unknown wire type {wire} stands at byte {begin}")
        if place > end:
            raise DataError(f"a value at byte {begin} runs past the end of its message")
        yield key >> 3, wire, (begin, place)


def _varint(record: bytes, place: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= end:
            break
        byte = record[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise DataError(f"a number at byte {place} has no end")


def _varints(data: np.ndarray) -> np.ndarray:
    """All packed varints in some bytes, as int64 (N,)."""
    last = np.flatnonzero(data < 128)
    if not len(data):
        return np.empty(0, np.int64)
    if not len(last) or last[-1] != len(data) - 1:
        raise DataError("a list of integers ends within a number")
    first = np.concatenate([[0], last[:-1] + 1])
    digit = np.arange(len(data)) - np.repeat(first, last - first + 1)
    if digit.max() > 9:
        raise DataError("a list of integers holds one of more than 64 bits")
    parts = (data & 127).astype(np.uint64) << (7 * digit).astype(np.uint64)
    return np.add.reduceat(parts, first).view(np.int64)
