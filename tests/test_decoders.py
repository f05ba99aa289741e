"""Decoding in other processes: what crashes, stalls or kills one is told, and the next file is read as ever."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lamplan import decoders
from lamplan.decoders import Decoder, Decoders
from lamplan.errors import DataError, LamplanError
from lamplan.video import Video, duration_s, read_window
from tests import tiny

# As `decoders._PROGRAM`, but for files of certain names it does what the worst of files do to a decoder.
RIGGED = """
import os, sys, time
from lamplan import decoders
read_window = decoders.read_window
def rigged(video, *rest, **more):
    if "crash" in video.name: os.abort()
    if "hang" in video.name: time.sleep(99)
    if "odd" in video.name: raise KeyError("odd")
    if "greedy" in video.name: bytearray(64 << 30)
    if "once" in video.name and not video.path.with_suffix(".seen").exists():
        video.path.with_suffix(".seen").touch()
        os.abort()
    return read_window(video, *rest, **more)
decoders.read_window = rigged
decoders.serve(int(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny.videos(tmp_path_factory.mktemp("videos") / "v", count=3)
    for name in ("crash", "hang", "odd", "greedy", "once"):
        (folder / f"{name}.mp4").write_bytes((folder / "0.mp4").read_bytes())
    return folder


def test_a_decoder_answers_as_the_functions_do(folder: Path) -> None:
    video, decoder = Video(folder / "1.mp4"), Decoder()
    assert np.array_equal(decoder.window(video, 0.3, 3, 4.0, 24), read_window(video, 0.3, 3, 4.0, 24))
    assert decoder.duration_s(video) == duration_s(video)
    with pytest.raises(DataError, match=r"no video at .*gone\.mp4"):
        decoder.window(Video(folder / "gone.mp4"), 0.3, 3, 4.0, 24)
    assert decoder._process is not None
    process = decoder._process
    decoder.close()
    assert process.returncode is not None


def test_crashes_stalls_and_odd_errors_are_told_and_the_next_file_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders, "_PROGRAM", RIGGED)
    monkeypatch.setattr(decoders, "PATIENCE_S", 2.0)
    decoder, good = Decoder(), Video(folder / "1.mp4")
    expected = read_window(good, 0.3, 3, 4.0, 24)
    sentences = {"crash": "crashes its decoder", "hang": "busy for more than 2 s", "odd": "KeyError", "greedy": "MemoryError"}
    for name, says in sentences.items():
        with pytest.raises(DataError, match=says) as error:
            decoder.window(Video(folder / f"{name}.mp4"), 0.0, 3, 4.0, 24)
        assert f"{name}.mp4" in str(error.value)
        assert np.array_equal(decoder.window(good, 0.3, 3, 4.0, 24), expected)
    # A process that is killed from outside is no fault of the file.
    assert decoder.window(Video(folder / "once.mp4"), 0.0, 3, 4.0, 24).shape == (3, 24, 24, 3)
    assert decoder._process is not None
    decoder._process.kill()
    assert np.array_equal(decoder.window(good, 0.3, 3, 4.0, 24), expected)
    decoder.close()


def test_a_process_that_does_not_start_is_no_fault_of_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders, "_PROGRAM", "raise SystemExit(1)")
    with pytest.raises(LamplanError, match="does not start") as error:
        Decoder().window(Video(folder / "1.mp4"), 0.0, 3, 4.0, 24)
    assert not isinstance(error.value, DataError)


def test_results_come_in_order_and_decoders_end_with_their_user(folder: Path) -> None:
    with Decoders(2) as several:
        lasts = list(several.map(lambda decoder, i=i: (i, decoder.duration_s(Video(folder / f"{i % 3}.mp4"))) for i in range(30)))
        processes = [decoder._process for decoder in several._all]
    assert lasts == [(i, 2.75) for i in range(30)]
    assert all(process is not None and process.returncode is not None for process in processes)


def test_decoders_do_not_outlive_a_killed_user_and_never_import_torch(folder: Path) -> None:
    program = f"""
import os, signal
from pathlib import Path
from lamplan.decoders import Decoder
from lamplan.video import Video
decoder = Decoder()
decoder.duration_s(Video(Path({str(folder / "0.mp4")!r})))
maps = Path(f"/proc/{{decoder._process.pid}}/maps").read_text()
print(decoder._process.pid, "libtorch" in maps, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    pid, torch = done.stdout.split()
    assert torch == "False"
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists() or ") Z" in Path(f"/proc/{pid}/stat").read_text():
            return
        time.sleep(0.05)
    pytest.fail(f"decoder {pid} is still there")
