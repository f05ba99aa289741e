"""Spoilt logs of every format give an episode or a sentence: no crash, no hang, no flood of memory, nothing run, nothing written."""

import json
import os
import subprocess
import sys

import pytest

from tests.logs.fuzz import FORMATS
from tests.logs.helpers import ROOT


@pytest.mark.parametrize("count", [100, pytest.param(5_000, marks=pytest.mark.slow)])
def test_spoilt_logs_are_read_or_refused(tmp_path, count):
    command = [sys.executable, "-m", "tests.logs.fuzz", str(tmp_path), str(count), "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=max(600, count))
    last = (tmp_path / "now.txt").read_text() if (tmp_path / "now.txt").exists() else "none"
    assert done.returncode == 0, f"ended with {done.returncode} at the file {last}:\n{done.stderr[-3000:]}"
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["attempts"] == []
    assert found["peak_mb"] < 2048
    for name in FORMATS:
        outcome = found["formats"][name]
        assert outcome["read"] + outcome["refused"] == count and min(outcome["read"], outcome["refused"]) > count / 50, (name, outcome)
        assert outcome["slowest_s"] < 10, (name, outcome)
