"""The rover's camera: one off-screen context for an environment's life, one set of GPU buffers for each scene."""

from __future__ import annotations

import atexit

import mujoco
import numpy as np

from envs.rover.scene import OBSTACLE_GROUP


class Camera:
    """Renders square images of `size` px from the named camera of the model last given to `load`."""

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        # Made at the first load: a process that opened a context must not fork, and vector environments make one
        # environment, which they never reset, before they fork.
        self._gl: mujoco.GLContext | None = None
        self._context: mujoco.MjrContext | None = None
        self._rect = mujoco.MjrRect(0, 0, size, size)
        self._option = mujoco.MjvOption()
        self._option.geomgroup[OBSTACLE_GROUP] = 1
        self._view = mujoco.MjvCamera()
        self._view.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._pixels = np.empty((size, size, 3), dtype=np.uint8)

    def load(self, model: mujoco.MjModel) -> None:
        """Uploads textures and ground of a new scene."""
        model.vis.global_.offwidth = model.vis.global_.offheight = self._size
        if self._gl is None:
            self._gl = mujoco.GLContext(self._size, self._size)
            # An environment that nobody closed must let go before MuJoCo shuts the display down at interpreter exit.
            atexit.register(self._gl.free)
        self._gl.make_current()
        if self._context is not None:
            self._context.free()
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._model = model
        self._scene = mujoco.MjvScene(model, maxgeom=model.ngeom + 10)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self._view.fixedcamid = model.camera(self._name).id

    def render(self, data: mujoco.MjData) -> np.ndarray:
        """Image (size, size, 3) uint8 of the present state; kinematics must be up to date."""
        assert self._gl is not None, "load a scene before rendering"
        self._gl.make_current()
        mujoco.mjv_updateScene(self._model, data, self._option, None, self._view, mujoco.mjtCatBit.mjCAT_ALL, self._scene)
        mujoco.mjr_render(self._rect, self._scene, self._context)
        mujoco.mjr_readPixels(self._pixels, None, self._rect, self._context)
        return self._pixels[::-1].copy()

    def close(self) -> None:
        """Gives the context and its buffers back; harmless when called again."""
        if self._gl is None:
            return
        if self._context is not None:
            self._gl.make_current()
            self._context.free()
            self._context = None
        self._gl.free()
        atexit.unregister(self._gl.free)
        self._gl = None
