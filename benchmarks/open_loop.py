"""Lets a policy plan from the first image of every window to the last, without executing anything."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.policies import Decision, Policy, Situation
from benchmarks.windows import Recorder, Windows


def decide_all(policy: Policy, windows: Windows, recorder: Recorder | None, batch: int, seed: int) -> tuple[Decision, float]:
    """The policy's plans for all windows, `batch` at a time, and the seconds that one plan took on average. Windows out of a log
    have no recorder, and no simulator that a policy could ask."""
    parts: list[Decision] = []
    begun = time.monotonic()
    with tqdm(total=len(windows), desc=policy.name, unit="plan") as bar:
        for first in range(0, len(windows), batch):
            span = slice(first, first + batch)
            policy.reset()
            situation = Situation(windows.starts[span], windows.goals[span], seed + first, _world(recorder, windows, first))
            parts.append(policy.decide(situation))
            bar.update(len(situation.images))
    seconds = (time.monotonic() - begun) / len(windows)
    predicted = [part.predicted for part in parts if part.predicted is not None]
    return Decision(np.concatenate([part.actions for part in parts]), np.concatenate(predicted) if predicted else None), seconds


def _world(recorder: Recorder | None, windows: Windows, first: int) -> Callable[[int], Any]:
    def at_start(b: int) -> Any:
        assert recorder is not None, "only the simulated benchmarks have an oracle"
        return recorder.at_start(windows, first + b)

    return at_start
