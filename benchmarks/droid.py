"""The DROID planning protocol (paper section 6.1) on recorded episodes of an arm, DROID's or one's own.

A window is 4 frames, one in every ceil(rate / robot's rate) of the log: 3.75 Hz from DROID's 15 Hz and from the Franka set's 30 Hz. From
its first image a plan of 3 steps to its last: CEM with 300 samples, 15 iterations, 10 elites, from mean 0 and std 0.1 (the released code's;
the text says 1), clipped to 0.1 m and rad and 0.75 of the gripper, judged by the squared distance of the last imagined features. The error
is the L1 distance of summed planned and summed true displacement. Part `own_limits` searches within the limits of robot.toml instead.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from benchmarks import on_logs
from benchmarks.contenders import SearchBudget
from benchmarks.displacement import displacement_errors
from benchmarks.literature import action_score, droid_quotes
from benchmarks.options import guarded
from benchmarks.protocol import Part, Protocol, as_it_is
from lamplan.costs import GoalCost
from lamplan.report.results import Row
from lamplan.robot import RobotSpec

HORIZON = 3
SEARCH, QUICK = SearchBudget(300, 15, 10), SearchBudget(64, 4, 10)
CLIP, CLIP_GRIPPER, STD = 0.1, 0.75, 0.1
WHERE = """the protocol's own set: huggingface.co/datasets/facebook/jepa-wms, folder franka_custom (github.com/facebookresearch/jepa-wms:
  `python src/scripts/download_data.py --dataset franka`); its camera is exterior_image_2_left
raw DROID, 8.7 TB, 5.6 TB without the stereo videos: droid-dataset.github.io (gs://gresearch/robotics/droid_raw); a single lab will do
DROID in RLDS, 1.7 TB, and a sample of 100 episodes, 2 GB: gs://gresearch/robotics/droid and .../droid_100
or any log of your own arm that `lamplan fit` reads"""


def as_droid_searches(robot: RobotSpec) -> RobotSpec:
    """The arm with the protocol's limits and its beginning of the search, whatever its own are."""
    high = np.array([CLIP] * 6 + [CLIP_GRIPPER])
    return replace(robot, low=-high, high=high, prior_mean=np.zeros(7), prior_std=np.full(7, STD), change=None)


def scored(row: Row) -> list[Row]:
    """The action score of a mean error; of its interval, the ends change places."""
    if row.metric != "delta_xyz":
        return []
    return [replace(row, metric="action_score", unit="of 80", value=action_score(row.value), ci_low=action_score(row.ci_high),
                    ci_high=action_score(row.ci_low))]


PROTOCOL = Protocol(
    name="droid", kind="arm", horizon=HORIZON, episodes=64, search=SEARCH, quick=QUICK,
    cameras=("exterior_image_2_left", "exterior_1_left", "exterior_image_1_left"),
    parts={"droid": Part(None, as_droid_searches), "own_limits": Part(None, as_it_is)},
    errors=displacement_errors, derived=scored, cost=GoalCost(), quoted=droid_quotes(), where=WHERE)


def main(argv: list[str] | None = None) -> None:
    on_logs.main(PROTOCOL, __doc__ or "", "controllers/panda", argv)


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    guarded(main)
