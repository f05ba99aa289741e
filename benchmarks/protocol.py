"""What a published planning protocol consists of, so that one program can run it on any robot log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.contenders import SearchBudget
from benchmarks.log_windows import LogReader
from benchmarks.shapes import Shape
from lamplan.costs import GoalCost
from lamplan.report.results import Quote, Row
from lamplan.robot import RobotSpec

Errors = Callable[[RobotSpec, np.ndarray, np.ndarray], dict[tuple[str, str], np.ndarray]]
"""{(metric, unit): (N,)} of plans (N, H, A) against true states (N, H+1, S)."""


def as_it_is(robot: RobotSpec) -> RobotSpec:
    """The robot with its own limits and prior."""
    return robot


@dataclass(frozen=True)
class Part:
    """One way to search: the shape of a plan, and the robot with the limits and the prior of that search."""

    shape: Shape | None
    searched: Callable[[RobotSpec], RobotSpec]


@dataclass(frozen=True)
class Protocol:
    """Windows of `horizon` steps out of recorded episodes; from the first image a plan to the last, held against what was recorded.

    kind: of the robots that it is for. cameras: the ones that it looks through, the first that a log has. parts: the protocol's own
    way to search stands first. derived: rows that follow from a measured one. cost: what a search
    minimises. where: how people get the data that it was published on.
    """

    name: str
    kind: str
    horizon: int
    episodes: int
    search: SearchBudget
    quick: SearchBudget
    cameras: tuple[str, ...]
    parts: dict[str, Part]
    errors: Errors
    derived: Callable[[Row], list[Row]]
    cost: GoalCost
    quoted: tuple[Quote, ...]
    where: str

    def reader(self, robot: RobotSpec, camera: str | None, image_size: int) -> LogReader:
        """Cuts this protocol's windows, as seen by one camera: the one named, or else the robot's or the protocol's."""
        return LogReader(robot, self.horizon, (camera,) if camera else (robot.camera, *self.cameras), image_size)
