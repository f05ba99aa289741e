"""Windows at random places of videos: the true times, in every container, and a sentence for every broken file."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamplan.errors import DataError
from lamplan.video import Video, duration_s, read_window
from tests import faults

RATE = 25
CODECS = {"h264.mp4": ("libx264", {}), "open-gop.mp4": ("libx264", {"x264-params": "open-gop=1:keyint=20:bframes=3"}),
          "hevc.mp4": ("libx265", {"x265-params": "keyint=20:log-level=none"}), "vp9.webm": ("libvpx-vp9", {"cpu-used": "8"}),
          "one-key.mkv": ("libx264", {}),
          "transport.ts": ("libx264", {"x264-params": "keyint=15"}), "old.avi": ("mpeg4", {"qmin": "1", "qmax": "2"}),
          "program.mpg": ("mpeg2video", {"qmin": "1", "qmax": "2"})}


def ramp(seconds: float) -> np.ndarray:
    """Frames at RATE whose grey level is 40 + 20 for each second since the first."""
    levels = 40 + 20 * np.arange(int(seconds * RATE)) / RATE
    return np.broadcast_to(levels.round().astype(np.uint8)[:, None, None, None], (len(levels), 64, 64, 3))


def seconds(clip: np.ndarray) -> np.ndarray:
    """When each frame of a clip of a ramp was shown."""
    return (clip.reshape(len(clip), -1).mean(1) - 40) / 20


@pytest.fixture(scope="module", params=list(CODECS))
def video(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Video:
    path, (codec, options) = tmp_path_factory.mktemp("codec") / request.param, CODECS[request.param]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE, options=options)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for image in ramp(8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        container.mux(stream.encode(None))
    return Video(path)


def test_a_window_shows_its_times_in_every_container(video: Video) -> None:
    lasts = duration_s(video)
    assert lasts == pytest.approx(8 - 1 / RATE, abs=0.06)
    for place in (0.0, 0.31, 0.5, 0.77, 0.98):
        clip = read_window(video, place, 8, 4.0, 16)
        assert clip.shape == (8, 16, 16, 3) and clip.dtype == np.uint8
        np.testing.assert_allclose(seconds(clip), place * (lasts - 1.75) + np.arange(8) / 4, atol=0.16)
        assert np.array_equal(clip, read_window(video, place, 8, 4.0, 16))
    assert len(read_window(video, 1.0, 8, 4.0, 16)) == 8


@pytest.mark.parametrize("kind", faults.BAD)
def test_every_bad_file_has_its_sentence_at_every_place(tmp_path: Path, kind: str) -> None:
    video = Video(faults.spoil(tmp_path, kind, np.random.default_rng(0)))
    says = {"corrupt": "damaged", "empty": "empty", "one-frame": "a single picture",
            "not-a-video": "cannot be read", "sound": "no pictures",
            "truncated": "cut short", "truncated-end": "cut short", "too-short": "lasts 0.25 s, too short"}[kind]
    for place in (0.0, 0.4, 1.0):
        with pytest.raises(DataError, match=says) as error:
            read_window(video, place, 4, 4.0, 32)
        assert str(video.path) in str(error.value)


def test_a_video_of_variable_rate_is_used_by_its_times(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.choice([0.02, 0.05, 0.3, 1.1], 40))
    levels = (40 + 20 * (times - times[0])).clip(0, 255).astype(np.uint8)
    last = int(np.searchsorted(levels, 254))
    faults.write_uneven(tmp_path / "vfr.mp4", np.broadcast_to(levels[:last, None, None, None], (last, 64, 64, 3)), list(times[:last]))
    video, times = Video(tmp_path / "vfr.mp4"), times[:last] - times[0]
    assert duration_s(video) == pytest.approx(times[-1], abs=0.01)
    for place in (0.0, 0.3, 0.6, 1.0):
        wanted = place * (times[-1] - 1.75) + np.arange(8) / 4
        nearest = times[np.abs(times[:, None] - wanted).argmin(0)]
        np.testing.assert_allclose(seconds(read_window(video, place, 8, 4.0, 16)), nearest, atol=0.2)


def test_a_file_cut_short_between_two_groups_of_pictures_is_noticed_at_every_place(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "whole.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"x264-params": "keyint=10"})
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for image in np.random.default_rng(0).integers(0, 255, (8 * RATE, 64, 64, 3), dtype=np.uint8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    whole = (tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    for place in (0.0, 0.5, 1.0):
        with pytest.raises(DataError, match=r"promises 8\.0 s"):
            read_window(Video(tmp_path / "cut.mkv"), place, 4, 4.0, 16)


def test_real_videos(shared_data: Path) -> None:
    for name, lasts in (("bridge_real_1.mp4", 7.2), ("bridge_real_2.mp4", 9.2), ("rt1_real_standing_coke_can_1.mp4", 0.9)):
        video = Video(shared_data / "videos" / name)
        assert duration_s(video) == pytest.approx(lasts, abs=0.01)
        clip = read_window(video, 0.5, 4, 4.0, 128)
        assert clip.shape == (4, 128, 128, 3) and clip.std() > 10


@settings(max_examples=40, deadline=5000)
@given(seed=st.integers(0, 100_000))
def test_damaged_bytes_give_a_window_or_a_sentence(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    rng = np.random.default_rng(seed)
    path = faults.spoil(tmp_path_factory.mktemp("damage"), "good", rng)
    content = np.frombuffer(path.read_bytes(), np.uint8).copy()
    head = content.tobytes().index(b"mdat") if rng.random() < 0.7 else len(content)
    content[rng.integers(0, head, int(rng.integers(1, 20)))] = rng.integers(0, 256)
    path.write_bytes(content.tobytes())
    try:
        assert read_window(Video(path), float(rng.random()), 4, 4.0, 32).shape == (4, 32, 32, 3)
    except DataError as error:
        assert str(path) in str(error)
