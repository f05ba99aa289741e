"""The benchmark of log loading, small: does it run and write what it says?"""

from pathlib import Path

from benchmarks import log_loading
from lamplan.report import Results


def test_it_measures_windows_and_opening(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(log_loading, "KEY_DISTANCES", (12,))
    monkeypatch.setattr(log_loading, "WIDTH", 64)
    monkeypatch.setattr(log_loading, "HEIGHT", 48)
    log_loading.main(["--episodes", "30", "--windows", "3", "--seconds", "3", "--out", str(tmp_path)])
    results = Results.read(tmp_path)
    assert {row.name for row in results.find("keys_every_12", "time_over_pyav")} == {"lamplan", "lamplan_first"}
    assert {row.name for row in results.find("open_log", "seconds")} == {"building_the_list", "with_the_list"}
    assert all(row.value > 0 for row in results.rows)
