"""What a seed decides of the world: camera, light, surfaces, and the objects with their places."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from envs.tabletop.model import OBJECT_CONTACT, OBJECT_SLOTS, ROBOT_CONTACT, TEXTURES, Names

# The camera looks over the robot's side at the middle of the workspace; angles seen from there, base frame.
LOOK_AT = np.array([0.48, 0.0, 0.22])
CAMERA_DISTANCE_M = 1.0
CAMERA_AZIMUTH = np.deg2rad(50.0)  # from straight ahead of the robot towards its left
CAMERA_ELEVATION = np.deg2rad(30.0)
CAMERA_FOV_DEG = 50.0
OBJECT_X, OBJECT_Y = (0.35, 0.62), (-0.24, 0.24)
OBJECT_GAP_M = 0.1
DENSITY = 400.0  # kg/m³, light wood
PARKED_Z = -5.0
SHAPES = (int(mujoco.mjtGeom.mjGEOM_BOX), int(mujoco.mjtGeom.mjGEOM_CYLINDER))


@dataclass(frozen=True)
class Block:
    """One object: a box or cylinder that fits between the fingers."""

    shape: int
    size: tuple[float, float, float]  # MuJoCo's half sizes, m
    rgb: tuple[float, float, float]
    xy: tuple[float, float]  # base frame, m
    yaw: float

    @property
    def half_height(self) -> float:
        return self.size[2] if self.shape == SHAPES[0] else self.size[1]


@dataclass(frozen=True)
class Scene:
    """A draw of everything that is not robot; plain data, so that it can be kept in a state."""

    camera_pos: tuple[float, ...]  # (3,), base frame, m
    camera_quat: tuple[float, ...]  # (4,) wxyz
    camera_fov_deg: float
    light_dir: tuple[float, float, float]
    light: float
    ambient: float
    surfaces: tuple[int, ...]  # material of table, floor, walls
    tints: tuple[tuple[float, float, float], ...]
    blocks: tuple[Block, ...]


def sample_scene(rng: np.random.Generator) -> Scene:
    """A scene; equal generators give equal scenes."""
    camera_pos, camera_quat = _camera(rng)
    downwards = np.array([rng.uniform(-0.6, 0.6), rng.uniform(-0.6, 0.6), -1.0])
    tints = tuple(_three(rng.uniform(0.55, 1.0, 3)) for _ in range(3))
    return Scene(
        camera_pos=camera_pos, camera_quat=camera_quat, camera_fov_deg=float(CAMERA_FOV_DEG + rng.uniform(-2.0, 2.0)),
        light_dir=tuple(downwards / np.linalg.norm(downwards)), light=float(rng.uniform(0.35, 0.6)),
        ambient=float(rng.uniform(0.3, 0.5)),
        surfaces=tuple(int(i) for i in rng.choice(len(TEXTURES), 3, replace=False)), tints=tints, blocks=_blocks(rng),
    )


def apply_scene(model: mujoco.MjModel, data: mujoco.MjData, names: Names, scene: Scene) -> None:
    """Writes the scene into the model (in place: compiling anew takes seconds). Object poses are `place_blocks`'s."""
    base = model.body_pos[names.base_body]
    model.cam_pos[names.exterior] = base + scene.camera_pos
    model.cam_quat[names.exterior] = scene.camera_quat
    model.cam_fovy[names.exterior] = scene.camera_fov_deg
    model.light_dir[:] = scene.light_dir
    model.light_diffuse[:] = scene.light
    model.vis.headlight.ambient[:] = scene.ambient
    model.vis.headlight.diffuse[:] = 0.25
    geoms = ((names.table_geom,), (names.floor_geom,), names.wall_geoms)
    for group, surface, tint in zip(geoms, scene.surfaces, scene.tints, strict=True):
        material = names.materials[surface]
        model.mat_rgba[material, :3] = tint
        model.geom_matid[list(group)] = material
    for slot in range(OBJECT_SLOTS):
        present = slot < len(scene.blocks)
        geom, body = names.object_geoms[slot], names.objects[slot]
        # A parked object floats out of sight and touches nothing, so that it costs no contacts.
        model.body_gravcomp[body] = 0.0 if present else 1.0
        model.geom_contype[geom] = OBJECT_CONTACT if present else 0
        model.geom_conaffinity[geom] = OBJECT_CONTACT | ROBOT_CONTACT if present else 0
        if present:
            _shape(model, geom, body, scene.blocks[slot])
    mujoco.mj_setConst(model, data)


def place_blocks(model: mujoco.MjModel, data: mujoco.MjData, names: Names, scene: Scene) -> None:
    """Puts the objects on the table, and the others out of the way."""
    base = model.body_pos[names.base_body]
    for slot, address in enumerate(names.object_qpos):
        if slot < len(scene.blocks):
            block = scene.blocks[slot]
            data.qpos[address:address + 3] = base + (*block.xy, block.half_height)
            data.qpos[address + 3:address + 7] = np.cos(block.yaw / 2), 0.0, 0.0, np.sin(block.yaw / 2)
        else:
            data.qpos[address:address + 7] = slot, 0.0, PARKED_Z, 1.0, 0.0, 0.0, 0.0


def _camera(rng: np.random.Generator) -> tuple[tuple[float, ...], tuple[float, ...]]:
    azimuth = CAMERA_AZIMUTH + rng.uniform(-0.08, 0.08)
    elevation = CAMERA_ELEVATION + rng.uniform(-0.06, 0.06)
    away = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
    target = LOOK_AT + rng.uniform(-0.02, 0.02, 3)
    position = LOOK_AT + away * (CAMERA_DISTANCE_M + rng.uniform(-0.04, 0.04))
    backward = position - target
    backward /= np.linalg.norm(backward)
    right = np.cross([0.0, 0.0, 1.0], backward)
    right /= np.linalg.norm(right)
    quat = np.zeros(4)
    mujoco.mju_mat2Quat(quat, np.stack([right, np.cross(backward, right), backward], axis=1).reshape(-1))
    return tuple(float(v) for v in position), tuple(float(v) for v in quat)


def _blocks(rng: np.random.Generator) -> tuple[Block, ...]:
    blocks: list[Block] = []
    for _ in range(int(rng.integers(2, OBJECT_SLOTS + 1))):
        xy = _free_place(rng, [block.xy for block in blocks])
        shape = int(rng.choice(SHAPES))
        height = rng.uniform(0.02, 0.035)
        width = rng.uniform(0.015, 0.027, 2)
        size = (width[0], width[1], height) if shape == SHAPES[0] else (width[0], height, 0.0)
        hue = rng.uniform()
        blocks.append(Block(shape, _three(np.array(size)), _colour(hue, rng.uniform(0.5, 1.0), rng.uniform(0.5, 1.0)), xy,
                            float(rng.uniform(-0.5, 0.5))))
    return tuple(blocks)


def _free_place(rng: np.random.Generator, taken: list[tuple[float, float]]) -> tuple[float, float]:
    while True:
        xy = (float(rng.uniform(*OBJECT_X)), float(rng.uniform(*OBJECT_Y)))
        if all(np.hypot(xy[0] - x, xy[1] - y) > OBJECT_GAP_M for x, y in taken):
            return xy


def _colour(hue: float, saturation: float, value: float) -> tuple[float, float, float]:
    weights = np.clip(np.abs((hue * 6.0 + np.array([0.0, 4.0, 2.0])) % 6.0 - 3.0) - 1.0, 0.0, 1.0)
    return _three(value * (1.0 - saturation * (1.0 - weights)))


def _three(values: np.ndarray) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])


def _shape(model: mujoco.MjModel, geom: int, body: int, block: Block) -> None:
    """Changes shape, colour and inertia of an object in the compiled model."""
    half = np.array(block.size if block.shape == SHAPES[0] else (block.size[0], block.size[0], block.size[1]))
    model.geom_type[geom] = block.shape
    model.geom_size[geom] = block.size
    model.geom_rbound[geom] = np.linalg.norm(half)
    model.geom_aabb[geom] = (0.0, 0.0, 0.0, *half)
    model.geom_rgba[geom] = (*block.rgb, 1.0)
    mass = DENSITY * 8.0 * float(np.prod(half))
    squares = half**2
    model.body_mass[body] = mass
    model.body_inertia[body] = mass / 3.0 * (squares.sum() - squares)
