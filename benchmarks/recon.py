"""The RECON planning protocol (paper section 6.2) on recorded drives, RECON's or one's own robot's.

A window is 8 steps at 4 Hz, 100 of them: those of the published index where `--index navigation_eval.pkl` is given, else random ones.
From its first image a plan to its last: a straight line, one (dx, dy) repeated and the turn at the end, the mean of the 5 best of 120
candidates in one iteration around the protocol's mean. ATE and RPE by `evo`, in metres and in RECON's waypoints of 0.25 m, as they are
published. Part `arc` searches over circular arcs within the limits of robot.toml instead.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from benchmarks import on_logs
from benchmarks.contenders import SearchBudget
from benchmarks.literature import recon_quotes
from benchmarks.options import guarded
from benchmarks.protocol import Part, Protocol, as_it_is
from benchmarks.shapes import Arc, StraightLine
from benchmarks.trajectories import WAYPOINT_M, path_errors
from lamplan.costs import GoalCost
from lamplan.robot import RobotSpec

HORIZON = 8
# The paper calls its cost on RECON similar to the one on DROID (L2) and that of NWM (LPIPS of images). On seeds for development L1 between
# features led nearer than L2.
COST = GoalCost("l1")
SEARCH = SearchBudget(120, 1, 5)
WHERE = """RECON: sites.google.com/view/recon-robot (recon_release/*.hdf5, read as they are), or the pictures with traj_data.pkl
  that train/process_recon.py of github.com/robodhruv/visualnav-transformer makes of them
the 100 published windows (--index): data_splits/recon/test/navigation_eval.pkl of github.com/facebookresearch/nwm
or any log of your own robot that `lamplan fit` reads"""


def as_recon_searches(robot: RobotSpec) -> RobotSpec:
    """The rover with the protocol's beginning of the search (paper section 6.2): 0.875 ± 0.075 waypoints of 0.25 m forward and
    ± 0.4 sideways at each step, ± 0.1 pi of turn at the last. The protocol has no limits: three of these spreads are left free, and what
    may change from one step to the next is."""
    mean, std = np.array([0.875, 0.0, 0.0]) * WAYPOINT_M, np.array([0.075 * WAYPOINT_M, 0.4 * WAYPOINT_M, 0.1 * np.pi])
    low, high = np.minimum(robot.low, mean - 3 * std), np.maximum(robot.high, mean + 3 * std)
    return replace(robot, prior_mean=mean, prior_std=std, low=low, high=high, change=None)


PROTOCOL = Protocol(
    name="recon", kind="mobile", horizon=HORIZON, episodes=100, search=SEARCH, quick=SearchBudget(32, 1, 5), cameras=("rgb_left",),
    parts={"recon": Part(StraightLine(), as_recon_searches), "arc": Part(Arc(), as_it_is)},
    errors=lambda robot, plans, states: path_errors(plans, states), derived=lambda row: [], cost=COST, quoted=recon_quotes(), where=WHERE)


def main(argv: list[str] | None = None) -> None:
    on_logs.main(PROTOCOL, __doc__ or "", "controllers/rover", argv)


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    guarded(main)
