"""`Studio`: one OpenGL context in which the scenes of all clips of a process are rendered."""

from __future__ import annotations

import mujoco
import numpy as np

from envs.wild.cameras import look_quat
from envs.wild.world import EYE, World

MAX_GEOMS = 4000
UNSTABLE = (mujoco.mjtWarning.mjWARN_BADQPOS, mujoco.mjtWarning.mjWARN_BADQVEL, mujoco.mjtWarning.mjWARN_BADQACC)


class Studio:
    """Renders worlds into clips. Keep one per process: making an OpenGL context costs more than a clip."""

    def __init__(self, size: int):
        """`size`: width and height of the frames, px."""
        self._size = size
        self._gl = mujoco.GLContext(size, size)
        self._gl.make_current()

    def film(self, world: World, frames: int, fps: float) -> np.ndarray | None:
        """Runs the world for `frames` / `fps` seconds; returns its frames (T, size, size, 3) uint8, or None where the
        simulation became unstable."""
        model, data = world.compile()
        model.vis.global_.offwidth = model.vis.global_.offheight = self._size
        self._gl.make_current()
        context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, context)
        scene = mujoco.MjvScene(model, MAX_GEOMS)
        scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = False
        scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
        option, perturb, camera = mujoco.MjvOption(), mujoco.MjvPerturb(), mujoco.MjvCamera()
        option.geomgroup[:] = [1, 1, 1, 0, 0, 0]
        option.sitegroup[:] = 0
        camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        camera.fixedcamid = model.camera(EYE).id
        eye_id = int(model.body(EYE).mocapid[0])
        view = mujoco.MjrRect(0, 0, self._size, self._size)
        out = np.empty((frames, self._size, self._size, 3), dtype=np.uint8)
        steps = max(1, round(1.0 / (fps * model.opt.timestep)))
        try:
            for k in range(frames):
                if k:
                    for _ in range(steps):
                        for mover in world.movers:
                            mover.control(model, data, data.time)
                        mujoco.mj_step(model, data)
                mujoco.mj_kinematics(model, data)
                if world.eye is not None:
                    pos, target = world.eye(model, data, data.time)
                    data.mocap_pos[eye_id], data.mocap_quat[eye_id] = pos, look_quat(pos, target)
                mujoco.mj_kinematics(model, data)
                mujoco.mj_comPos(model, data)
                mujoco.mj_camlight(model, data)
                mujoco.mjv_updateScene(model, data, option, perturb, camera, mujoco.mjtCatBit.mjCAT_ALL, scene)
                mujoco.mjr_render(view, scene, context)
                mujoco.mjr_readPixels(out[k], None, view, context)
        finally:
            context.free()
        if any(data.warning[kind].number for kind in UNSTABLE):
            return None
        return out[:, ::-1].copy()

    def close(self) -> None:
        self._gl.free()
