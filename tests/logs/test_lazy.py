"""Lists of episodes: quick to open, true to the folders, kept out of the way."""

import json
import os
import time

import numpy as np
import pytest

from lamplan.logs import folders
from lamplan.logs.episode import Episode
from lamplan.logs.folders import a_few, files_below
from lamplan.logs.lazy import Episodes, cache_folder, remembered


def episode(number: int) -> Episode:
    return Episode(np.full((2, 3), float(number)), None, 4.0, (), f"episode {number}", lambda camera, steps: np.zeros(0))


def age(folder, seconds: float = 60.0) -> None:
    """Makes everything below a folder as old as a log that nobody writes to."""
    then = time.time() - seconds
    for here, _, names in os.walk(folder):
        for path in (here, *(os.path.join(here, name) for name in names)):
            os.utime(path, (then, then))


def touch(path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")


def test_episodes_are_a_sequence_and_opened_on_access():
    opened = []
    log = Episodes(range(100_000), lambda number: opened.append(number) or episode(number))
    assert len(log) == 100_000 and opened == []
    assert log[-1].source == "episode 99999" and [found.source for found in log[5:9:2]] == ["episode 5", "episode 7"]
    assert opened == [99_999, 5, 7]
    with pytest.raises(IndexError):
        log[100_000]


def test_a_list_is_built_once_until_its_folder_changes(tmp_path):
    log = tmp_path / "log"
    for name in ("b/x.log", "a/x.log"):
        touch(log / name)
    age(log)
    built = []

    def build():
        built.append(1)
        return sorted(path.parent.name for path in log.glob("*/x.log")), [log]

    assert [remembered(log, "test", build) for _ in range(3)] == [["a", "b"]] * 3 and len(built) == 1
    assert remembered(log, "another", build) == ["a", "b"] and len(built) == 2
    touch(log / "c" / "x.log")
    assert remembered(log, "test", build) == ["a", "b", "c"] and len(built) == 3
    assert list(tmp_path.iterdir()) == [log], "nothing is written beside the log"


def test_a_folder_still_being_written_is_not_kept(tmp_path):
    (tmp_path / "log").mkdir()
    for number in range(3):
        touch(tmp_path / "log" / f"{number}.log")
        assert len(remembered(tmp_path / "log", "test", lambda: (os.listdir(tmp_path / "log"), [tmp_path / "log"]))) == number + 1


SPOILT = ("", "[]", "{", '{"sources": 3, "entries": []}', '{"sources": {"/nowhere": 1}, "entries": []}', "[" * 100_000)


@pytest.mark.parametrize("content", SPOILT)
def test_a_spoilt_cache_is_made_anew(tmp_path, content):
    (tmp_path / "log").mkdir()
    age(tmp_path / "log")
    for _ in range(2):
        assert remembered(tmp_path / "log", "test", lambda: (["a"], [tmp_path / "log"])) == ["a"]
        (kept,) = cache_folder().glob("*.json")
        assert json.loads(kept.read_text())["entries"] == ["a"]
        kept.write_text(content)


def test_without_a_place_for_the_cache_the_list_is_still_made(tmp_path, monkeypatch):
    (tmp_path / "log").mkdir()
    (tmp_path / "file").write_text("")
    age(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert remembered(tmp_path / "log", "test", lambda: (["a"], [tmp_path / "log"])) == ["a"]


def test_files_are_found_at_any_depth_in_the_order_of_their_numbers(tmp_path):
    for name in ("run_10/t.h5", "run_9/t.h5", "deep/er/run_1/t.h5", "run_9/inner/t.h5", "run_3/u.h5"):
        touch(tmp_path / name)
    (tmp_path / "t.h5.d").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path)
    assert files_below(tmp_path, "t.h5", "test") == ["deep/er/run_1/t.h5", "run_9/t.h5", "run_10/t.h5"]
    assert {path.name for path in a_few(tmp_path, "t.h5")} == {"t.h5"} and a_few(tmp_path, "v.h5") == []


def test_a_new_episode_deep_in_a_log_is_seen(tmp_path):
    touch(tmp_path / "log" / "lab" / "day" / "run_1" / "t.h5")
    age(tmp_path / "log")
    assert len(files_below(tmp_path / "log", "t.h5", "test")) == 1
    touch(tmp_path / "log" / "lab" / "day" / "run_2" / "t.h5")
    assert len(files_below(tmp_path / "log", "t.h5", "test")) == 2


def test_recognising_looks_at_a_bounded_part(tmp_path, monkeypatch):
    for number in range(60):
        touch(tmp_path / f"{number:02}" / "other.txt")
    looked = []
    original = os.scandir
    monkeypatch.setattr(folders, "FOLDERS_LOOKED_INTO", 10)
    monkeypatch.setattr(os, "scandir", lambda path: looked.append(path) or original(path))
    assert a_few(tmp_path, "t.h5") == [] and len(looked) == 10
