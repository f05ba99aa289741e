"""A robot arm at a table: robosuite's arms, grippers and table, moved in end-effector steps at 4 Hz."""

from envs.tabletop.env import TabletopEnv

__all__ = ["TabletopEnv"]
