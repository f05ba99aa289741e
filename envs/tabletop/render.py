"""Cheap pictures of the table: no shadows, reflections or anti-aliasing, and only what the eye should see."""

from __future__ import annotations

import atexit
import weakref

import mujoco
import numpy as np


class Camera:
    """Renders square images of one simulation."""

    def __init__(self, model: mujoco.MjModel, size: int):
        model.vis.global_.offwidth = max(size, model.vis.global_.offwidth)
        model.vis.global_.offheight = max(size, model.vis.global_.offheight)
        self._renderer = mujoco.Renderer(model, size, size)
        self._option = mujoco.MjvOption()
        self._option.geomgroup[:] = 0
        self._option.geomgroup[1] = 1  # robosuite keeps what is to be seen in group 1, collision shapes in group 0
        self._option.sitegroup[:] = 0
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            self._renderer.scene.flags[flag] = 0
        # An environment that nobody closed must free its context before the driver shuts down at exit.
        atexit.register(_close, weakref.ref(self._renderer))

    def image(self, data: mujoco.MjData, camera: int) -> np.ndarray:
        """(size, size, 3) uint8 from a camera of the model."""
        self._renderer.update_scene(data, camera, scene_option=self._option)
        return self._renderer.render().copy()

    def close(self) -> None:
        self._renderer.close()


def _close(renderer: weakref.ref[mujoco.Renderer]) -> None:
    if alive := renderer():
        alive.close()
