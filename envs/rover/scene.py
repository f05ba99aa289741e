"""Turns a `Layout` into a MuJoCo model."""

from __future__ import annotations

import mujoco
import numpy as np

from envs.rover import textures
from envs.rover.chassis import GROUND_CONTACT, OBSTACLE_CONTACT, add_rover
from envs.rover.layout import GRID, HALF_M, Layout, Thing

TIMESTEP_S = 0.005
GROUND_TILES = 2
"""How often the ground's picture is repeated along a side."""
OBSTACLE_GROUP = 3
"""Geom group of everything that the rover must not touch."""

_SHAPES = {
    "box": mujoco.mjtGeom.mjGEOM_BOX,
    "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER,
    "ellipsoid": mujoco.mjtGeom.mjGEOM_ELLIPSOID,
}


def build_model(layout: Layout, rng: np.random.Generator) -> mujoco.MjModel:
    """Compiles the scene with the rover in it; `rng` decides the textures."""
    spec = mujoco.MjSpec()
    spec.option.timestep = TIMESTEP_S
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    # No samples to average and coarse round shapes: software rendering of 128 px in a few milliseconds.
    spec.visual.quality.offsamples = 0
    spec.visual.quality.shadowsize = 0
    spec.visual.quality.numslices = 12
    spec.visual.quality.numstacks = 8
    spec.visual.quality.numquads = 1
    spec.visual.map.znear = 0.02
    spec.visual.map.zfar = 80.0
    spec.stat.extent = 1.0
    spec.visual.headlight.ambient = list(layout.ambient)
    spec.visual.headlight.diffuse = [0.12, 0.12, 0.12]
    spec.visual.headlight.specular = [0, 0, 0]
    spec.worldbody.add_light(type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, dir=list(layout.sun_direction), diffuse=list(layout.sun),
                             specular=[0, 0, 0], castshadow=False)
    _add_sky(spec, layout)
    _add_textures(spec)
    _add_ground(spec, layout)
    for thing in (*layout.things, *layout.fence):
        _add_thing(spec, thing, layout.height(thing.x, thing.y))
    add_rover(spec)
    model = spec.compile()
    _paint(model, "ground", textures.ground(rng))
    for name, make in textures.FACES.items():
        _paint(model, name, np.concatenate([make(rng)] * 6))
    return model


def _add_sky(spec: mujoco.MjSpec, layout: Layout) -> None:
    spec.add_texture(name="sky", type=mujoco.mjtTexture.mjTEXTURE_SKYBOX, builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
                     rgb1=list(layout.sky[0]), rgb2=list(layout.sky[1]), width=64, height=384)


def _add_textures(spec: mujoco.MjSpec) -> None:
    """Reserves the textures; their pixels are written after compilation."""
    flat, size, face = mujoco.mjtBuiltin.mjBUILTIN_FLAT, textures.GROUND_PX, textures.FACE_PX
    spec.add_texture(name="ground", type=mujoco.mjtTexture.mjTEXTURE_2D, builtin=flat, width=size, height=size)
    for name in textures.FACES:
        spec.add_texture(name=name, type=mujoco.mjtTexture.mjTEXTURE_CUBE, builtin=flat, width=face, height=6 * face)
    for name in ("ground", *textures.FACES):
        roles = [""] * int(mujoco.mjtTextureRole.mjNTEXROLE)
        roles[int(mujoco.mjtTextureRole.mjTEXROLE_RGB)] = name
        repeat = GROUND_TILES if name == "ground" else 1
        spec.add_material(name=name, textures=roles, texrepeat=[repeat, repeat], specular=0.0, shininess=0.0)


def _add_ground(spec: mujoco.MjSpec, layout: Layout) -> None:
    low, high = float(layout.heights.min()), float(layout.heights.max())
    scaled = (layout.heights - low) / max(high - low, 1e-6)
    spec.add_hfield(name="ground", nrow=GRID, ncol=GRID, size=[HALF_M, HALF_M, high - low, 0.5], userdata=scaled.ravel().tolist())
    spec.worldbody.add_geom(name="ground", type=mujoco.mjtGeom.mjGEOM_HFIELD, hfieldname="ground", material="ground", pos=[0, 0, low],
                            contype=GROUND_CONTACT, conaffinity=0)


def _add_thing(spec: mujoco.MjSpec, thing: Thing, foot_m: float) -> None:
    cos, sin = np.cos(thing.yaw), np.sin(thing.yaw)
    turn = [np.cos(thing.yaw / 2), 0, 0, np.sin(thing.yaw / 2)]
    for part in thing.parts:
        x, y, z = part.offset
        spec.worldbody.add_geom(
            type=_SHAPES[part.shape], size=list(part.size), quat=turn, material=part.texture, rgba=[*part.colour, 1.0],
            pos=[thing.x + cos * x - sin * y, thing.y + sin * x + cos * y, foot_m + z],
            contype=OBSTACLE_CONTACT if part.solid else 0, conaffinity=0, group=OBSTACLE_GROUP if part.solid else 0,
            # Smooth for the wheels, so that they cannot climb it.
            friction=[0.2, 0.005, 0.0001], priority=1,
        )


def _paint(model: mujoco.MjModel, name: str, pixels: np.ndarray) -> None:
    start = model.tex_adr[model.texture(name).id]
    model.tex_data[start:start + pixels.size] = pixels.ravel()
