"""Chooses how MuJoCo renders without a screen: must run before `mujoco` is imported."""

from __future__ import annotations

import os
import subprocess
import sys

BACKENDS = ("egl", "osmesa")
_PROBE = "import mujoco; context = mujoco.GLContext(16, 16); context.make_current()"


class RenderingError(RuntimeError):
    """No way to render without a screen works on this machine."""


def choose_gl() -> str:
    """Sets MUJOCO_GL to the first of egl, osmesa that can really open a context, and returns it.

    A value that the user has set is left as it is. Each backend is tried in a process of its own, since a failed one
    cannot be unloaded; the answer lands in the environment, so child processes do not ask again.
    """
    if chosen := os.environ.get("MUJOCO_GL"):
        return chosen
    for backend in BACKENDS:
        if _works(backend):
            os.environ["MUJOCO_GL"] = backend
            return backend
    raise RenderingError(
        "MuJoCo cannot render here: neither EGL nor OSMesa opens a context. Install one of them, for example with "
        "'apt-get install libosmesa6' (software) or 'apt-get install libegl1' (a GPU's driver), or set MUJOCO_GL yourself."
    )


def _works(backend: str) -> bool:
    environment = {**os.environ, "MUJOCO_GL": backend}
    try:
        probe = subprocess.run([sys.executable, "-c", _PROBE], env=environment, capture_output=True, timeout=60)
    except subprocess.TimeoutExpired:
        return False
    return probe.returncode == 0
