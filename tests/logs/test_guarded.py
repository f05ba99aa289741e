"""The file that HDF5 reads through gives the same bytes, and stops at a heap that has no end."""

import struct

import pytest

from lamplan.logs.guarded import GuardedFile


def heap(*objects: tuple[int, int], size: int = 4096) -> bytes:
    """A heap of objects (index, length); what is left of it is one free object."""
    content = b"GCOL\x01\0\0\0" + struct.pack("<Q", size)
    for index, length in objects:
        content += struct.pack("<HHIQ", index, 1, 0, length) + bytes((length + 7) // 8 * 8)
    left = size - len(content)
    return content + struct.pack("<HHIQ", 0, 0, 0, left) + bytes(left - 16)


def read(path, content: bytes, start: int = 0, piece: int = 4096) -> bytes:
    path.write_bytes(content)
    with GuardedFile(path) as file:
        file.seek(start)
        buffer = bytearray(piece)
        count = file.readinto(memoryview(buffer))
        assert file.tell() == start + count
    return bytes(buffer[:count])


@pytest.mark.parametrize("content", [heap(), heap((1, 10), (2, 0), (3, 400)), b"GCOL", b"x" * 5000, b"GCOL\x01" + bytes(40)])
def test_sound_files_are_read_as_they_are(tmp_path, content):
    assert read(tmp_path / "a", b"before.." + content, 8) == content[:4096]
    assert read(tmp_path / "a", content, piece=2**22) == content


@pytest.mark.parametrize("place", [0, 8, 3000])
def test_a_heap_without_end_is_refused_wherever_it_stands(tmp_path, place):
    sound = heap((1, 10), (2, 30))
    endless = sound[:80] + bytes(len(sound) - 80)
    with pytest.raises(OSError, match=f"heap at byte {place} "):
        read(tmp_path / "a", bytes(place) + endless)


def test_what_lies_beyond_the_piece_is_looked_at_too(tmp_path):
    long = heap((1, 6000), size=8192)
    assert read(tmp_path / "a", long, piece=512) == long[:512]
    with pytest.raises(OSError, match="impossible size 0"):
        read(tmp_path / "a", long[:6032] + bytes(8192 - 6032), piece=512)


def test_a_size_that_overflows_is_refused(tmp_path):
    sound = heap((1, 10))
    for length in (2**64 - 16, 2**64 - 20, 4096):
        with pytest.raises(OSError, match=f"impossible size {length}"):
            read(tmp_path / "a", sound[:24] + struct.pack("<Q", length) + sound[32:])
