"""Results: intervals, the file, the table."""

import json
from pathlib import Path

import numpy as np
import pytest

from lamplan.errors import DataError, InputError
from lamplan.report import Results, table
from lamplan.report.bootstrap import bootstrap_mean
from lamplan.report.results import Quote


def some_results() -> Results:
    results = Results("manipulation", "python -m benchmarks.manipulation --out x", "abc", "cpu", 7, {"open_loop": "300 x 15"})
    rng = np.random.default_rng(0)
    for name, mean in (("lam", 0.06), ("zero", 0.16)):
        results.add(name, "open_loop", "delta_xyz", "m", mean + 0.01 * rng.standard_normal(64))
    results.add("lam", "reach", "success", "share", np.array([True, False, True, True]))
    return results


def test_bootstrap_interval_agrees_with_the_normal_one() -> None:
    values = np.random.default_rng(1).normal(2.0, 0.5, size=400)
    mean, low, high = bootstrap_mean(values, seed=3)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert mean == pytest.approx(values.mean())
    assert low == pytest.approx(mean - half, abs=0.006)
    assert high == pytest.approx(mean + half, abs=0.006)


def test_bootstrap_depends_on_its_seed_alone() -> None:
    values = np.random.default_rng(1).random(20)
    assert bootstrap_mean(values, seed=1) == bootstrap_mean(values, seed=1)
    assert bootstrap_mean(values, seed=1) != bootstrap_mean(values, seed=2)


def test_windows_of_one_episode_are_drawn_together() -> None:
    rng = np.random.default_rng(2)
    of_episodes, groups = rng.normal(size=16), np.repeat(np.arange(16), 4)
    mean, low, high = bootstrap_mean(of_episodes[groups], groups=groups)
    # Four copies of a value tell no more than one of it.
    assert (mean, low, high) == pytest.approx(bootstrap_mean(of_episodes))
    _, finer, _ = bootstrap_mean(of_episodes[groups])
    assert mean - low > 1.8 * (mean - finer)


@pytest.mark.parametrize("values", [np.zeros(0), np.array([1.0, np.nan]), np.zeros((2, 2))])
def test_bootstrap_refuses_what_has_no_mean(values: np.ndarray) -> None:
    with pytest.raises(InputError, match="one finite number per sample"):
        bootstrap_mean(values)


def test_results_file_has_the_form_of_the_house(tmp_path: Path) -> None:
    path = some_results().write(tmp_path)
    written = json.loads(path.read_text())
    assert {"benchmark", "command", "commit", "device", "seed", "rows"} <= set(written)
    assert set(written["rows"][0]) == {"name", "task", "metric", "unit", "value", "ci_low", "ci_high", "n"}
    assert written["rows"][0]["n"] == 64
    assert list(tmp_path.iterdir()) == [path]


def test_results_survive_writing_and_reading(tmp_path: Path) -> None:
    results = some_results()
    results.quoted.append(Quote("others", "delta_xyz", "m", 0.1, "a paper", "another robot"))
    results.write(tmp_path)
    assert Results.read(tmp_path) == results


def test_what_is_quoted_stands_apart_in_the_table() -> None:
    results = some_results()
    assert "quoted" not in table(results)
    results.quoted.append(Quote("others", "delta_xyz", "m", 0.1, "a paper", "another robot"))
    assert table(results).splitlines()[-1] == "| others                    | 0.100         | a paper | another robot |"


@pytest.mark.parametrize("text", ["", "[]", '{"rows": [{"name": "x"}]}'])
def test_reading_something_else_is_a_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(DataError, match="run the benchmark again"):
        Results.read(tmp_path)


def test_begin_states_the_command_with_its_quotes() -> None:
    results = Results.begin("navigation", seed=1, device="cpu", argv=["--out", "a b"], open_loop="120 x 1")
    assert results.command == "python -m benchmarks.navigation --out 'a b'"
    assert results.budget == {"open_loop": "120 x 1"}


def test_table_has_one_block_per_task_and_aligned_columns() -> None:
    blocks = table(some_results()).split("\n\n")
    assert [block.split("|")[1].strip() for block in blocks] == ["open_loop", "reach"]
    lines = blocks[0].splitlines()
    assert len({len(line) for line in lines}) == 1
    assert "delta_xyz (m)" in lines[0] and "0.06" in lines[2] and lines[2].rstrip(" |").endswith("64")
