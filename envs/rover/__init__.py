"""A wheeled robot with a forward camera in generated outdoor scenes (MuJoCo, Gymnasium)."""

from envs.rover.env import RoverEnv, RoverState

__all__ = ["RoverEnv", "RoverState"]
