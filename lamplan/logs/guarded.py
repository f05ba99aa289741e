"""A file for HDF5 to read through, which stops it where damage would make it run for ever.

HDF5 keeps text of variable length in heaps, lists of objects one after another. A free object of size 0 in such a list, as a few
zeroed bytes make it, or one so large that the sum of sizes overflows, sends the library (2.0) round and round on the spot, where nothing
but a kill ends it.
"""

from __future__ import annotations

import io
import struct

HEAP = b"GCOL\x01"
HEAD, OBJECT = 16, struct.Struct("<HHIQ")
MAX_HEAP_BYTES = 2**28
MAX_PIECE_BYTES = 2**21


class GuardedFile(io.FileIO):
    """A binary file opened for reading. Raises OSError when a heap is read that does not end."""

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        begin = self.tell()
        count = super().readinto(buffer) or 0
        # What is no image is read in pieces of at most 1 MB, and a heap's first 4 kB in one of them. Small images are looked at as
        # well; they spell a heap's name once in 2^40 bytes.
        seen, place = bytes(buffer[:count]) if count <= MAX_PIECE_BYTES else b"", -1
        while (place := seen.find(HEAP, place + 1)) >= 0:
            self._check_heap(begin + place)
        self.seek(begin + count)
        return count

    def _check_heap(self, start: int) -> None:
        self.seek(start + 8)
        size = int.from_bytes(self.read(8), "little")
        if not HEAD <= size <= MAX_HEAP_BYTES:
            return  # HDF5 itself finds that this cannot be.
        self.seek(start)
        heap, place = self.read(size), HEAD
        while place + OBJECT.size <= len(heap):
            index, _, _, length = OBJECT.unpack_from(heap, place)
            step = OBJECT.size + (length + 7) // 8 * 8 if index else length
            if step == 0 or place + step > size:
                raise OSError(f"the heap at byte {start} has an object of the impossible size {length}")
            place += step
