"""Recording play: what is there already is gone on with where it is of the same seed, and nothing happens in silence."""

from pathlib import Path

import numpy as np
import pytest

from envs.record import main
from lamplan.logs import open_log


def record(out: Path, episodes: int, seed: int, *options: str) -> int:
    return main(["--env", "tabletop", "--image-size", "32", "--steps", "2", "--out", str(out), "--episodes", str(episodes),
                 "--seed", str(seed), *options])


@pytest.mark.parametrize("name", ["play.hdf5", "play"])
def test_a_log_is_gone_on_with_by_its_own_seed_alone(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    out, whole = tmp_path / name, tmp_path / f"whole-{name}"
    assert record(out, 1, seed=3) == record(out, 2, seed=3) == record(whole, 2, seed=3) == 0
    gone_on, at_once = ([episode.states for episode in open_log(path)] for path in (out, whole))
    np.testing.assert_array_equal(gone_on, at_once)
    capsys.readouterr()
    assert record(out, 1, seed=3) == 0
    assert f"{out} already holds 2 episodes from seed 3 on: nothing was recorded" in capsys.readouterr().out
    for episodes in (1, 5):
        assert record(out, episodes, seed=4) == 2
        assert f"{out} holds 2 episodes that were not recorded from seed 4: the first begins 0." in capsys.readouterr().err
    assert record(out, 3, 3, "--robot", "Sawyer") == 2
    assert f"{out} exists and is no log of sawyer" in capsys.readouterr().err
    np.testing.assert_array_equal([episode.states for episode in open_log(out)], at_once)
