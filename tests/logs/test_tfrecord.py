"""TFRecord files and the messages in them, against TensorBoard's writer and protobuf itself."""

import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamplan.errors import DataError
from lamplan.logs.tfexample import parse_example
from lamplan.logs.tfrecord import index_records, masked_crc, read_record
from tests.logs.made_rlds import EXAMPLE, SEQUENCE_EXAMPLE, example, fill, write_records

RECORDS = [b"one", b"", bytes(range(256)) * 40, b"last"]


def test_records_of_another_writer_are_read(tmp_path):
    path = write_records(tmp_path / "a.tfrecord", RECORDS)
    assert [read_record(path, *map(int, row)) for row in index_records(path)] == RECORDS


def test_the_checksum_is_the_published_one():
    # RFC 3720, B.4: 32 zero bytes have the CRC-32C 8A9136AA; the mask is TensorFlow's.
    crc = 0x8A9136AA
    assert masked_crc(bytes(32)) == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@pytest.mark.parametrize("place", range(34))
def test_every_damaged_byte_is_noticed(tmp_path, place):
    path = write_records(tmp_path / "a.tfrecord", [b"0123456789", b"01"])
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.tfrecord"):
        for row in index_records(path):
            read_record(path, *map(int, row))


@pytest.mark.parametrize("length", range(1, 26))
def test_every_cut_is_noticed(tmp_path, length):
    path = write_records(tmp_path / "a.tfrecord", [b"0123456789"])
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DataError, match=r"cut short|damaged"):
        index_records(path)


def test_a_compressed_file_is_named(tmp_path):
    path = write_records(tmp_path / "a.tfrecord", RECORDS)
    path.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(DataError, match="is compressed"):
        index_records(path)


def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    path = write_records(tmp_path / "a.tfrecord", RECORDS)
    monkeypatch.setitem(__import__("sys").modules, "google_crc32c", None)
    with pytest.raises(DataError, match=r"google-crc32c: pip install 'lamplan\[logs\]'"):
        index_records(path)


TEXTS = st.lists(st.binary(max_size=20), min_size=1, max_size=8)
FLOATS = st.lists(st.floats(width=32, allow_nan=False), max_size=20).map(np.array)
INTEGERS = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20).map(lambda values: np.array(values, np.int64))
VALUES = st.one_of(TEXTS, FLOATS, INTEGERS)


def same(feature, values):
    if isinstance(values, list):
        assert feature.texts() == values and len(feature.numbers()) == 0
    else:
        np.testing.assert_array_equal(feature.numbers(), values)
        assert len(feature.spans()) == 0


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(max_size=10), VALUES, max_size=6))
def test_an_example_is_read_as_protobuf_wrote_it(table):
    record = example(**table)
    found = parse_example(record)
    assert found.keys() == table.keys()
    for key, values in table.items():
        same(found[key], values)
        if isinstance(values, list):
            assert [record[begin:end] for begin, end in found[key].spans()] == values


def test_the_steps_of_a_sequence_example_are_joined():
    made = SEQUENCE_EXAMPLE()
    fill(made.context.feature["task"], [b"push"])
    for step in range(4):
        fill(made.feature_lists.feature_list["action"].feature.add(), np.array([step, -step], np.float32))
        fill(made.feature_lists.feature_list["image"].feature.add(), [b"%d" % step])
    found = parse_example(made.SerializeToString())
    assert found["task"].texts() == [b"push"] and found["image"].texts() == [b"0", b"1", b"2", b"3"]
    np.testing.assert_array_equal(found["action"].numbers().reshape(4, 2), [[0, 0], [1, -1], [2, -2], [3, -3]])


def test_numbers_that_are_not_packed():
    """An old writer gives each number its own tag: Feature.int64_list{1: 5, 1: 300}."""
    entry = b"\x0a\x01k\x12\x07\x1a\x05\x08\x05\x08\xac\x02"
    record = b"\x0a" + bytes([len(entry) + 2]) + b"\x0a" + bytes([len(entry)]) + entry
    made = EXAMPLE()
    made.ParseFromString(record)
    np.testing.assert_array_equal(parse_example(record)["k"].numbers(), list(made.features.feature["k"].int64_list.value))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_parsed_or_refused(record):
    try:
        for feature in parse_example(record).values():
            feature.numbers()
            feature.texts()
    except DataError:
        pass
