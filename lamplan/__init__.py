"""lamplan: plan robot motion with a world model learned from unlabelled video."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lamplan.costs import AnyOf, GoalCost
    from lamplan.errors import CheckpointError, DataError, InputError, LamplanError
    from lamplan.lam import LatentActionModel
    from lamplan.latent_planner import LatentPlanner
    from lamplan.planner import Plan, Planner
    from lamplan.robot import RobotSpec
    from lamplan.search import CEM, ICEM, MPPI, Gradient, Refined

__all__ = ["CEM", "ICEM", "MPPI", "AnyOf", "CheckpointError", "DataError", "GoalCost", "Gradient", "InputError", "LamplanError",
           "LatentActionModel", "LatentPlanner", "Plan", "Planner", "Refined", "RobotSpec"]
__version__ = "0.1.0"

_HOMES = {
    "CEM": "search", "ICEM": "search", "MPPI": "search", "Gradient": "search", "Refined": "search",
    "AnyOf": "costs", "GoalCost": "costs",
    "CheckpointError": "errors", "DataError": "errors", "InputError": "errors", "LamplanError": "errors",
    "LatentActionModel": "lam", "LatentPlanner": "latent_planner", "Plan": "planner", "Planner": "planner", "RobotSpec": "robot",
}


def __getattr__(name: str) -> Any:
    # Loaded when first asked for: a simulator's worker that only needs RobotSpec does not import torch.
    if name not in _HOMES:
        raise AttributeError(f"module 'lamplan' has no attribute '{name}'")
    return getattr(import_module(f"lamplan.{_HOMES[name]}"), name)
