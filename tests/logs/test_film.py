"""Frames in any order are the frames that decoding from the start gives."""

import multiprocessing
import os

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamplan.errors import DataError, InputError
from lamplan.logs import film
from lamplan.logs.film import frame_times, read_frames
from tests.logs import synthetic

COUNT = 70
# Key frames at fixed distances, B-frames that change the order of storage, and groups that lean on the next one.
CODECS = {
    "droid.mp4": ("mpeg4", {}),
    "h264.mp4": ("libx264", {"g": "12", "bf": "3"}),
    "one_key.mp4": ("libx264", {"g": "500", "bf": "2"}),
    "open_gop.mp4": ("libx264", {"g": "15", "bf": "3", "x264-params": "open-gop=1:scenecut=0"}),
    "h264.mkv": ("libx264", {"g": "12", "bf": "3"}),
    "vp9.webm": ("libvpx-vp9", {"g": "20", "deadline": "realtime", "cpu-used": "8"}),
    "motion.avi": ("mjpeg", {}),
}


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Per codec a video of a moving pattern, with all its frames as plain decoding gives them."""
    t, y, x = np.ogrid[:COUNT, :48, :64]
    frames = np.stack(np.broadcast_arrays((4 * x + 3 * t) % 256, (5 * y + 2 * t) % 256, 3 * t % 256 + 0 * x * y), axis=3).astype(np.uint8)
    made = {}
    for name, (codec, options) in CODECS.items():
        path = synthetic.film(tmp_path_factory.mktemp("films") / name, frames, 30, codec, **options)
        with av.open(str(path)) as container:
            made[name] = path, np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    return made


@pytest.mark.parametrize("name", CODECS)
def test_any_order_gives_the_same_frames(films, name):
    path, expected = films[name]
    assert len(expected) == COUNT == len(frame_times(path))
    np.testing.assert_allclose(frame_times(path), np.arange(COUNT) / 30, atol=1e-3)

    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.lists(st.integers(0, COUNT - 1), max_size=8), max_size=4))
    def check(reads):
        film.forget()
        for numbers in reads:
            np.testing.assert_array_equal(read_frames(path, np.array(numbers, int), COUNT), expected[numbers])

    check()


def test_a_step_forward_does_not_seek(films, monkeypatch):
    path, expected = films["one_key.mp4"]
    decoded = []
    advance = film.Film._advance
    monkeypatch.setattr(film.Film, "_advance", lambda self, number: decoded.append(number - self._last) or advance(self, number))
    film.forget()
    for number in range(COUNT):
        np.testing.assert_array_equal(read_frames(path, np.array([number]))[0], expected[number])
    assert decoded == [1] * COUNT, "each frame was decoded once"
    read_frames(path, np.arange(COUNT))
    assert len(decoded) == COUNT, "all of them were still there"


@pytest.mark.parametrize("name", ["droid.mp4", "h264.mp4", "h264.mkv", "vp9.webm", "motion.avi"])
def test_a_seek_goes_to_the_last_key_frame_and_no_farther(films, monkeypatch, name):
    path, _ = films[name]
    decoded: list[int] = []
    stamp = film._stamp

    def counted(piece, container):
        if isinstance(piece, av.VideoFrame):
            decoded.append(piece.pts)
        return stamp(piece, container)

    monkeypatch.setattr(film, "_stamp", counted)
    for number in (69, 45, 20, 33, 2):
        film.forget()
        key = film._opened(path).table.keys[number]
        decoded.clear()
        read_frames(path, np.array([number]))
        assert len(decoded) == number - key + 1


def test_kept_images_stay_within_their_bound(films, monkeypatch):
    path, expected = films["h264.mp4"]
    monkeypatch.setattr(film, "KEPT_BYTES", 5 * expected[0].nbytes)
    film.forget()
    np.testing.assert_array_equal(read_frames(path, np.arange(COUNT)), expected)
    np.testing.assert_array_equal(read_frames(path, np.array([0, 69, 35])), expected[[0, 69, 35]])
    assert len(film._opened(path)._kept) == 5


def test_a_returned_image_may_be_changed(films):
    path, expected = films["h264.mp4"]
    read_frames(path, np.array([3]))[:] = 0
    np.testing.assert_array_equal(read_frames(path, np.array([3]))[0], expected[3])


def test_a_rewritten_file_is_read_anew(tmp_path):
    path = synthetic.film(tmp_path / "a.mp4", synthetic.pictures(steps=5))
    assert read_frames(path, np.array([4])).mean() == pytest.approx(synthetic.grey(4), abs=2)
    synthetic.film(path, synthetic.pictures(steps=9))
    os.utime(path, ns=(1, 1))
    assert read_frames(path, np.array([8])).mean() == pytest.approx(synthetic.grey(8), abs=2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked on this system")
def test_a_forked_worker_reads_for_itself(films):
    path, expected = films["h264.mp4"]
    read_frames(path, np.array([0]))
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for number, image in zip(range(COUNT), pool.starmap(read_frames, [(path, np.array([n])) for n in range(COUNT)], 1), strict=True):
            np.testing.assert_array_equal(image[0], expected[number])
    np.testing.assert_array_equal(read_frames(path, np.array([1]))[0], expected[1])


def test_wrong_counts_and_files_are_named(films, tmp_path):
    path, _ = films["droid.mp4"]
    with pytest.raises(DataError, match="70 frames for 71 recorded states"):
        read_frames(path, np.array([0]), 71)
    with pytest.raises(InputError, match="frames 0 to 69"):
        read_frames(path, np.array([70]))
    with pytest.raises(DataError, match="no video at"):
        read_frames(tmp_path / "absent.mp4", np.array([0]))
    for name, content in {"text.mp4": b"#EXTM3U\n/etc/hostname\n", "cut.mp4": path.read_bytes()[:500], "empty.mp4": b""}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=name):
            read_frames(tmp_path / name, np.array([0]))


def test_a_claimed_size_beyond_reason_is_refused(films, tmp_path, monkeypatch):
    path, _ = films["droid.mp4"]
    monkeypatch.setattr(film, "MAX_PIXELS", 48 * 64 - 1)
    film.forget()
    with pytest.raises(DataError, match="64 x 48 pixels"):
        frame_times(path)


def test_real_videos(shared_data):
    for path in sorted((shared_data / "videos").glob("*.mp4")):
        with av.open(str(path)) as container:
            expected = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
        order = np.random.default_rng(0).permutation(len(expected))[:8]
        np.testing.assert_array_equal(read_frames(path, order, len(expected)), expected[order])
