"""Frames by their time stamps: the same as reading the whole video, without reading it."""

import time

import av
import numpy as np
import pytest

from lamplan.errors import DataError
from lamplan.logs.mp4 import frames_at
from tests.logs.made_lerobot import write_mp4

CODING = {"default": {}, "long distance of key frames": {"g": "1000"}, "key frames alone": {"g": "1"},
          "every second": {"g": "2", "bf": "0"},
          "many B-frames": {"bf": "8", "g": "30"}, "open groups": {"x264-params": "open-gop=1:bframes=3", "g": "12"}}


def whole(path):
    """Times and images of all frames, in the order shown."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [(float(frame.pts * stream.time_base), frame.to_ndarray(format="rgb24")) for frame in container.decode(stream)]
    return np.array([moment for moment, _ in frames]), np.stack([image for _, image in frames])


@pytest.mark.parametrize("name", CODING)
def test_any_frames_as_in_the_whole_video(tmp_path, name):
    rng = np.random.default_rng(0)
    write_mp4(tmp_path / "video.mp4", rng.integers(0, 255, (90, 32, 48, 3), dtype=np.uint8), fps=15, **CODING[name])
    times, images = whole(tmp_path / "video.mp4")
    for _ in range(30):
        steps = rng.integers(0, 90, int(rng.integers(1, 12)))
        np.testing.assert_array_equal(frames_at(tmp_path / "video.mp4", times[steps], 0.03, "x"), images[steps])
    steps = np.sort(rng.permutation(90)[:9])
    np.testing.assert_array_equal(frames_at(tmp_path / "video.mp4", times[steps] + rng.uniform(-0.03, 0.03, 9), 0.033, "x"), images[steps])
    assert frames_at(tmp_path / "video.mp4", np.array([]), 0.03, "x").shape == (0, 32, 48, 3)


def test_real_videos(shared_data):
    paths = sorted((shared_data / "videos").glob("*.mp4"))
    assert paths
    for path in paths:
        times, images = whole(path)
        steps = np.random.default_rng(1).permutation(len(times))[:8]
        np.testing.assert_array_equal(frames_at(path, times[steps] - times[0], 0.01, "x", count=len(times)), images[steps])


def test_what_does_not_fit_is_named(tmp_path):
    path = tmp_path / "video.mp4"
    write_mp4(path, np.zeros((20, 16, 16, 3), np.uint8), fps=10)
    with pytest.raises(DataError, match=r"no frame within 0\.05 s of 2\.000 s"):
        frames_at(path, np.array([1.9, 2.0]), 0.05, "here")
    with pytest.raises(DataError, match=r"nearest to two states"):
        frames_at(path, np.array([1.0, 1.04]), 0.05, "here")
    with pytest.raises(DataError, match="20 frames for 21 states"):
        frames_at(path, np.array([0.0]), 0.05, "here", count=21)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(DataError, match="here"):
        frames_at(path, np.arange(20) / 10, 0.05, "here")
    path.write_text("#EXTM3U\n/etc/passwd\n")
    with pytest.raises(DataError, match="cannot be read as video"):
        frames_at(path, np.array([0.0]), 0.05, "here")


def test_a_window_costs_little_more_than_seeking_and_decoding(tmp_path):
    """8 frames at 4 Hz out of 640 x 480 at 30 fps, against PyAV alone doing the same; processor time, the better of some tries."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (12, 12, 16, 3), dtype=np.uint8).repeat(40, 1).repeat(40, 2)
    scene = np.concatenate([np.roll(coarse, 4 * shift, 2) for shift in range(14)])
    write_mp4(tmp_path / "video.mp4", scene, fps=30, preset="ultrafast", g="60")
    wanted = 3.1 + np.arange(8) / 4

    def alone():
        with av.open(str(tmp_path / "video.mp4")) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            container.seek(int(wanted[0] / stream.time_base), stream=stream)
            images, waiting = [], list(wanted)
            for frame in container.decode(stream):
                if float(frame.pts * stream.time_base) >= waiting[0] - 1 / 60:
                    images.append(frame.to_ndarray(format="rgb24"))
                    waiting.pop(0)
                    if not waiting:
                        return np.stack(images)
        raise AssertionError

    def cost(read):
        begin = time.process_time()
        read()
        return time.process_time() - begin

    tries = [(cost(alone), cost(lambda: frames_at(tmp_path / "video.mp4", wanted, 1 / 59, "x"))) for _ in range(6)]
    base, ours = np.min(tries, axis=0)
    np.testing.assert_array_equal(frames_at(tmp_path / "video.mp4", wanted, 1 / 59, "x"), alone())
    assert ours < 1.5 * base, f"{1000 * ours:.1f} ms against {1000 * base:.1f} ms"
