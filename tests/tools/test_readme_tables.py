"""README tables come from results files and from nothing else."""

import json

import pytest

from tools.readme_tables import main

ROW = {"name": "zero", "task": "open_loop", "metric": "delta_xyz", "unit": "m", "value": 0.125, "ci_low": 0.1, "ci_high": 0.15, "n": 64}
RUN = {"benchmark": "manipulation", "command": "python -m benchmarks.manipulation --seed 7", "commit": "abc", "device": "cpu", "seed": 7,
       "rows": [ROW]}
TEXT = "# Title\n<!-- results:manipulation -->\nold \\1\n<!-- /results:manipulation -->\nend\n"


@pytest.fixture
def results(tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps(RUN))
    return path


def test_the_table_replaces_what_stood_between_the_marks(tmp_path, results):
    readme = tmp_path / "README.md"
    readme.write_text(TEXT)
    for _ in range(2):
        assert main([str(results), "--readme", str(readme)]) == 0
    text = readme.read_text()
    assert text.startswith("# Title\n") and text.endswith("\nend\n") and "old" not in text
    assert "0.125 [0.100, 0.150]" in text and RUN["command"] in text and "commit abc" in text
    assert text.count("<!-- results:manipulation -->") == text.count("<!-- /results:manipulation -->") == 1


def test_runs_of_one_benchmark_share_its_table_and_the_last_one_has_its_row(tmp_path, results):
    readme, other = tmp_path / "README.md", tmp_path / "other.json"
    readme.write_text(TEXT)
    other.write_text(json.dumps({**RUN, "command": "another command", "rows": [{**ROW, "name": "lam", "value": 0.05}]}))
    assert main([str(results), str(other), "--readme", str(readme)]) == 0
    text = readme.read_text()
    assert RUN["command"] in text and "another command" in text and "| zero " in text and "| lam " in text
    assert text.count("delta_xyz (m)") == 1
    other.write_text(json.dumps({**RUN, "rows": [{**ROW, "value": 0.05}]}))
    assert main([str(results), str(other), "--readme", str(readme)]) == 0
    assert readme.read_text().count("| zero ") == 1 and "0.050 [" in readme.read_text()


@pytest.mark.parametrize("text", ["no marks", TEXT + TEXT])
def test_a_readme_without_one_place_stays_as_it_is(tmp_path, results, text, capsys):
    readme = tmp_path / "README.md"
    readme.write_text(text)
    assert main([str(results), "--readme", str(readme)]) == 2
    assert readme.read_text() == text and "manipulation" in capsys.readouterr().err


def test_missing_files_are_named(tmp_path, capsys):
    assert main([str(tmp_path / "absent.json")]) == 2
    assert "absent.json" in capsys.readouterr().err


def test_the_page_of_results_has_its_places(root):
    text = (root / "benchmarks" / "README.md").read_text()
    for name in ("manipulation", "navigation", "budget", "latency", "training", "streaming"):
        assert text.count(f"<!-- results:{name} -->") == text.count(f"<!-- /results:{name} -->") == 1
