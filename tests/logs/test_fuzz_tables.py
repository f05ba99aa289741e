"""Damaged LeRobot and RLDS sets: each gives episodes or a sentence, never a crash, a hang or a heap of memory."""

import pytest

from tests.logs.fuzz_tables import fuzz
from tests.logs.made_lerobot import write_lerobot2, write_lerobot3
from tests.logs.made_rlds import write_rlds

MAKERS = {"lerobot v2.1": write_lerobot2, "lerobot v3": write_lerobot3, "rlds": write_rlds}


@pytest.mark.parametrize("name", MAKERS)
def test_two_hundred_damaged_sets(tmp_path, name):
    outcome = fuzz(MAKERS[name], tmp_path / "set", 200, seed=0)
    assert outcome["read"] > 10 and outcome["refused"] > 50


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
def test_five_thousand_damaged_sets(tmp_path, name):
    assert sum(fuzz(MAKERS[name], tmp_path / "set", 5000, seed=1).values()) == 5000
