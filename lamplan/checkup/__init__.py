"""The check-up of a robot log before anything is fitted to it: what is in it, what is wrong with it, and a first `robot.toml`."""

from lamplan.checkup.examine import Checkup, examine
from lamplan.checkup.finding import Finding
from lamplan.checkup.suggest import new_robot

__all__ = ["Checkup", "Finding", "examine", "new_robot"]
