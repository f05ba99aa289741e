"""Simulated worlds as Gymnasium environments: importing this package registers them."""

from gymnasium.envs.registration import register

from envs.gl import choose_gl

choose_gl()

register("lamplan/Tabletop-v0", entry_point="envs.tabletop:TabletopEnv", max_episode_steps=200)
register("lamplan/Rover-v0", entry_point="envs.rover:RoverEnv", max_episode_steps=400)
