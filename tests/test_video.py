"""Reading and writing clips: true times, whole frames, sentences for broken files."""

import struct
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamplan.errors import DataError, InputError
from lamplan.video import Video, read_clip, read_window, stream_clip, write_video
from tests.faults import write_sound, write_uneven


def grey(levels: np.ndarray, height: int = 64, width: int = 64) -> np.ndarray:
    """Uniform frames (T, height, width, 3), one for each grey level."""
    return np.broadcast_to(np.asarray(levels, np.uint8)[:, None, None, None], (len(levels), height, width, 3)).copy()


def level(clip: np.ndarray) -> np.ndarray:
    """Grey level of each frame."""
    return clip.reshape(len(clip), -1).mean(axis=1)


def test_written_frames_come_back_in_number_and_order(tmp_path):
    levels = np.linspace(0, 255, 64)
    write_video(tmp_path / "clip.mp4", grey(levels), fps=4.0)
    clip = read_clip(tmp_path / "clip.mp4", fps=4.0, size=64)
    assert clip.shape == (64, 64, 64, 3) and clip.dtype == np.uint8
    np.testing.assert_allclose(level(clip), np.floor(levels), atol=2)


@settings(max_examples=15, deadline=None)
@given(fps=st.sampled_from([3.0, 4.0, 7.5, 10.0, 29.97]), start=st.integers(0, 20), count=st.integers(1, 12))
def test_a_window_equals_the_same_part_of_the_whole(tmp_path_factory, fps, start, count):
    path = tmp_path_factory.mktemp("window") / "clip.mp4"
    write_video(path, grey(np.linspace(0, 250, 40)), fps=fps)
    whole = read_clip(path, fps=fps, size=32)
    part = read_clip(path, fps=fps, size=32, start_s=start / fps, frames=count)
    np.testing.assert_array_equal(part, whole[start : start + count])


def test_frames_are_chosen_by_their_own_times_not_by_the_header_rate(tmp_path):
    times = [0.0, 0.1, 0.2, 0.3, 1.0, 2.0, 2.5, 2.6, 2.7, 3.0]
    levels = np.arange(10) * 25
    write_uneven(tmp_path / "uneven.mp4", grey(levels), times)
    clip = read_clip(tmp_path / "uneven.mp4", fps=1.0, size=64)
    np.testing.assert_allclose(level(clip), [0, 100, 125, 225], atol=2)


def test_a_late_first_time_stamp_counts_as_zero(tmp_path):
    write_uneven(tmp_path / "late.mkv", grey(np.array([50, 100, 150])), [5.0, 5.25, 5.5])
    np.testing.assert_allclose(level(read_clip(tmp_path / "late.mkv", fps=4.0, size=64)), [50, 100, 150], atol=2)


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_avi_has_no_presentation_times(tmp_path, codec):
    # With B-frames (libx264) the last frames of an AVI carry no time at all: they follow at the header's rate.
    with av.open(str(tmp_path / "old.avi"), "w") as container:
        stream = container.add_stream(codec, rate=4)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for image in grey(np.arange(10) * 25):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    np.testing.assert_allclose(level(read_clip(tmp_path / "old.avi", size=64)), np.arange(10) * 25, atol=4)
    np.testing.assert_allclose(level(read_clip(tmp_path / "old.avi", size=64, start_s=1.0, frames=2)), [100, 125], atol=4)


def test_frames_a_minute_apart_are_no_clip(tmp_path):
    write_uneven(tmp_path / "gap.mp4", grey(np.array([0, 100, 200])), [0.0, 1.0, 3600.0])
    with pytest.raises(DataError, match="3599 s apart"):
        read_clip(tmp_path / "gap.mp4")
    assert len(read_clip(tmp_path / "gap.mp4", frames=4)) == 4


@pytest.mark.parametrize(("height", "width"), [(64, 128), (128, 64), (50, 70), (31, 33)])
def test_the_middle_square_is_kept(tmp_path, height, width):
    frames = np.zeros((3, height, width, 3), np.uint8)
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    frames[:, top : top + short, left : left + short] = 200
    write_video(tmp_path / "wide.mp4", frames, fps=4.0, crf=10)
    clip = read_clip(tmp_path / "wide.mp4", size=16)
    assert clip.shape == (3, 16, 16, 3)
    np.testing.assert_allclose(clip[:, 2:-2, 2:-2], 200, atol=8)


def test_shrinking_averages_areas(tmp_path):
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    write_video(tmp_path / "board.mp4", np.repeat(board[None, ..., None], 3, axis=3).astype(np.uint8).repeat(2, axis=0), fps=4.0, crf=5)
    np.testing.assert_allclose(read_clip(tmp_path / "board.mp4", size=8), 127, atol=12)


def turned(path: Path, a: int, b: int) -> Path:
    """A copy of an MP4 whose header says to turn it, x right and y down, by the matrix [[a, b], [-b, a]] (ISO 14496-12, 8.3.2)."""
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 44  # 4 for the name, 40 for what stands before the matrix in a box of version 0
    content[start : start + 36] = struct.pack(">9i", a << 16, b << 16, 0, -b << 16, a << 16, 0, 0, 0, 1 << 30)
    other = path.with_name(f"turned_{a}_{b}.mp4")
    other.write_bytes(content)
    return other


@pytest.mark.parametrize(("a", "b", "side"), [(1, 0, "top"), (0, 1, "right"), (-1, 0, "bottom"), (0, -1, "left")])
def test_a_video_stands_as_it_was_taken(tmp_path, a, b, side):
    """The top of what was filmed comes to lie on that side; a phone held upright notes a quarter clockwise, (0, 1)."""
    frames = np.zeros((5, 64, 96, 3), np.uint8)
    frames[:, :32] = 200
    write_video(tmp_path / "lying.mp4", frames, fps=4.0)
    path = turned(tmp_path / "lying.mp4", a, b)
    sides = {"top": np.s_[:, :12], "bottom": np.s_[:, 20:], "left": np.s_[:, :, :12], "right": np.s_[:, :, 20:]}
    for clip in (read_clip(path, size=32), read_window(Video(path), 0.5, 3, 4.0, 32), np.stack(list(stream_clip(path, size=32)))):
        light = {name: clip[part].mean() for name, part in sides.items()}
        assert max(light, key=light.get) == side and light[side] > 190


def test_the_clip_ends_with_the_video(tmp_path):
    write_video(tmp_path / "clip.mp4", grey(np.arange(8) * 30), fps=4.0)
    assert len(read_clip(tmp_path / "clip.mp4", fps=4.0, frames=100)) == 8
    assert len(read_clip(tmp_path / "clip.mp4", fps=2.0)) == 4
    with pytest.raises(DataError, match="no frame at 9 s"):
        read_clip(tmp_path / "clip.mp4", start_s=9.0)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.2, 0.5, 0.9])
def test_a_file_cut_short_is_named(tmp_path, share):
    frames = np.random.default_rng(0).integers(0, 255, (20, 64, 64, 3), dtype=np.uint8)
    write_video(tmp_path / "whole.mp4", frames, fps=4.0)
    whole = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DataError, match=r"cut\.mp4"):
        read_clip(tmp_path / "cut.mp4")


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_damaged_bytes_give_a_clip_or_a_sentence(tmp_path_factory, seed):
    path, rng = tmp_path_factory.mktemp("damage") / "clip.mp4", np.random.default_rng(seed)
    write_video(path, rng.integers(0, 255, (6, 32, 32, 3), dtype=np.uint8), fps=4.0)
    content = np.frombuffer(path.read_bytes(), np.uint8).copy()
    content[rng.integers(0, len(content), 20)] = rng.integers(0, 256, 20)
    path.write_bytes(content.tobytes())
    try:
        assert read_clip(path, size=32, frames=10).shape[1:] == (32, 32, 3)
    except DataError as error:
        assert str(path) in str(error)


def test_what_is_no_video_is_named(tmp_path):
    (tmp_path / "text.mp4").write_text("#EXTM3U\n#EXTINF:1,\nclip.mp4\n")
    (tmp_path / "pickle.mp4").write_bytes(b"\x80\x04\x95")
    write_sound(tmp_path / "sound.mp4")
    for name in ("text.mp4", "pickle.mp4", "sound.mp4", "absent.mp4"):
        with pytest.raises(DataError, match=name):
            read_clip(tmp_path / name)
    with pytest.raises(DataError, match="no pictures, only audio"):
        read_clip(tmp_path / "sound.mp4")


@pytest.mark.parametrize("arguments", [{"fps": 0.0}, {"size": 0}, {"start_s": -1.0}, {"frames": 0}, {"fps": float("nan")}])
def test_impossible_requests_are_refused(tmp_path, arguments):
    with pytest.raises(InputError):
        read_clip(tmp_path / "any.mp4", **arguments)


@pytest.mark.parametrize("frames", [np.zeros((0, 8, 8, 3), np.uint8), np.zeros((2, 8, 8), np.uint8), np.zeros((2, 8, 8, 3))])
def test_wrong_images_write_nothing(tmp_path, frames):
    with pytest.raises(InputError):
        write_video(tmp_path / "out.mp4", frames, fps=4.0)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("lamplan.video.Fraction.limit_denominator", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_video(tmp_path / "out.mp4", grey(np.arange(3)), fps=4.0)
    assert list(tmp_path.iterdir()) == []


def test_odd_sizes_are_written(tmp_path):
    write_video(tmp_path / "odd.mp4", grey(np.array([10, 200]), 33, 47), fps=7.5)
    with av.open(str(tmp_path / "odd.mp4")) as container:
        assert (container.streams.video[0].height, container.streams.video[0].width) == (34, 48)


@pytest.mark.parametrize(("name", "count"), [("bridge_real_1.mp4", 29), ("bridge_real_2.mp4", 37), ("rt1_real_standing_coke_can_1.mp4", 4)])
def test_real_robot_videos(shared_data, name, count):
    clip = read_clip(shared_data / "videos" / name)
    assert clip.shape == (count, 128, 128, 3)
    assert 20 < clip.mean() < 235 and clip.std() > 10
