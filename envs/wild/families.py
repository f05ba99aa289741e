"""The families of wild clips, how often each is drawn, and what each puts into its world."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from pathlib import Path

import mujoco
import numpy as np

from envs.wild.cameras import mounted_eye, orbit_eye, travelling_eye
from envs.wild.drivers import ArmDriver, BaseDriver, ControlDriver, FlyDriver, WaveDriver
from envs.wild.kits import ARMS, BODIES, HANDS, load_kit
from envs.wild.motion import GroundPath
from envs.wild.world import World, random_quat, yaw_quat
from lamplan.errors import InputError

# Walkers of Gymnasium: file, start height (m), strength of the controls, planar (they know no yaw of their own).
WALKERS: dict[str, tuple[str, float, float]] = {
    "ant": ("ant.xml", 0.75, 0.5),
    "humanoid": ("humanoid.xml", 1.4, 0.9),
    "half_cheetah": ("half_cheetah.xml", 0.7, 0.8),
    "hopper": ("hopper.xml", 1.25, 0.7),
    "walker2d": ("walker2d_v5.xml", 1.25, 0.7),
    "swimmer": ("swimmer.xml", 0.1, 0.8),
    "reacher": ("reacher.xml", 0.02, 0.12),
    "pusher": ("pusher_v5.xml", 0.9, 0.6),
}


def _table(world: World) -> float:
    """Adds a table about the origin, or nothing but the floor; returns the height of the top (m)."""
    rng = world.rng
    if rng.random() < 0.15:
        return 0.0
    height = rng.uniform(0.3, 0.9)
    half = rng.uniform([0.45, 0.45], [0.9, 0.9])
    world.block(
        np.array([0.0, 0.0, height - 0.025]), np.array([*half, 0.025]), repeat=float(rng.uniform(1, 4)), textured=0.8
    )
    legs = rng.uniform(0.02, 0.05)
    if rng.random() < 0.5:
        world.block(np.array([0, 0, height / 2 - 0.03]), np.array([*(half * 0.8), height / 2 - 0.03]))
    else:
        for x, y in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
            world.block(
                np.array([x * half[0] * 0.9, y * half[1] * 0.9, height / 2]),
                np.array([legs, legs, height / 2 - 0.03]),
                textured=0.0,
            )
    return height


def _indoors(world: World) -> None:
    rng = world.rng
    world.floor(size=8.0)
    if rng.random() < 0.75:
        world.room(half=rng.uniform(2.5, 4.0), height=rng.uniform(1.5, 3.0), walls=int(rng.integers(2, 5)))
    for _ in range(int(rng.integers(0, 6))):
        angle, away = rng.uniform(-math.pi, math.pi), rng.uniform(1.3, 2.4)
        world.fixed_thing(np.array([away * math.cos(angle), away * math.sin(angle), 0.0]), rng.uniform(0.15, 0.6))


def _outdoors(world: World, clear: float, count: int, far: float = 14.0, path: GroundPath | None = None) -> None:
    """Trees, houses, poles and rocks between `clear` and `far` metres, none within a metre of `path`."""
    rng = world.rng
    world.floor(size=40.0)
    way = (
        np.zeros((0, 2))
        if path is None
        else np.array([path(t)[:2] for t in np.arange(0.0, world.duration_s + 2.0, 0.2)])
    )
    for _ in range(count):
        angle, away = rng.uniform(-math.pi, math.pi), clear + (far - clear) * rng.random() ** 1.5
        pos = np.array([away * math.cos(angle), away * math.sin(angle), 0.0])
        room = float(np.min(np.linalg.norm(way - pos[:2], axis=1))) if len(way) else away
        kind = rng.choice(["tree", "tree", "house", "pole", "rock", "rock"])
        if room < {"tree": 0.8, "house": 3.5, "pole": 0.5, "rock": 1.0}[kind]:
            continue
        if kind == "tree":
            world.tree(pos, rng.uniform(1.2, 4.0))
        elif kind == "house":
            half = rng.uniform([0.5, 0.5, 0.4], [2.0, 2.0, 2.0])
            world.block(pos + [0, 0, half[2]], half, rng.uniform(0, 3.1), repeat=float(rng.uniform(1, 4)), textured=0.8)
        elif kind == "pole":
            half = np.array([rng.uniform(0.03, 0.08)] * 2 + [rng.uniform(0.4, 1.5)])
            world.block(pos + [0, 0, half[2]], half, rng.uniform(0, 3.1), textured=0.3)
        else:
            world.fixed_thing(pos - [0, 0, 0.05], rng.uniform(0.2, 0.8))


def _setting(world: World, clear: float) -> None:
    if world.rng.random() < 0.5:
        _indoors(world)
    else:
        _outdoors(world, clear, int(world.rng.integers(4, 18)))


def arms(world: World) -> None:
    """One or two robot arms at a table, reaching about and pushing what lies there."""
    rng = world.rng
    _indoors(world)
    top = _table(world)
    count = 1 if rng.random() < 0.7 else 2
    first = rng.uniform(-math.pi, math.pi)
    tip = ""
    for k in range(count):
        kit = load_kit(list(ARMS)[rng.integers(len(ARMS))])
        away = rng.uniform(0.4, 0.65) if kit.name != "spot_arm" else 0.4
        angle = first + k * rng.uniform(2.2, 4.0)
        base = np.array([away * math.cos(angle), away * math.sin(angle), top])
        if away > 0.5 and top > 0 and rng.random() < 0.5:
            world.block(base - [0, 0, top / 2], np.array([0.12, 0.12, top / 2]), angle, textured=0.2)
        prefix, joints = world.add_kit(kit, base, yaw_quat(angle + math.pi), recolour=rng.random() < 0.35)
        tip = prefix + "right_hand"
        low, high = np.array([-0.3, -0.3, top + 0.12]), np.array([0.3, 0.3, top + 0.5])
        world.movers.append(ArmDriver(rng, kit, prefix, joints, low, high, world.duration_s))
    for _ in range(int(rng.integers(2, 9))):
        scale = rng.uniform(0.02, 0.07)
        world.loose_thing(np.array([*rng.uniform(-0.35, 0.35, 2), top + 1.2 * scale]), scale)
    if rng.random() < 0.12:
        world.eye = mounted_eye(tip, np.array([0.1, 0.0, 0.0]), np.array([-0.25, 0.0, 1.0]))
    else:
        target = np.array([0.0, 0.0, top + 0.2])
        world.eye = orbit_eye(rng, target, (0.8, 1.9), (0.15, 1.1), world.duration_s, still=0.6)


def hands(world: World) -> None:
    """One to three hands or grippers that fly over a table, bend their fingers and push things."""
    rng = world.rng
    _indoors(world)
    top = _table(world)
    for _ in range(int(rng.integers(1, 4))):
        kit = load_kit(HANDS[rng.integers(len(HANDS))])
        quat = random_quat(rng)
        prefix, joints = world.add_kit(kit, np.array([0, 0, top + 0.3]), quat, recolour=rng.random() < 0.5)
        low, high = np.array([-0.25, -0.25, top + 0.08]), np.array([0.25, 0.25, top + 0.35])
        world.movers.append(FlyDriver(rng, prefix, low, high, quat, world.duration_s))
        world.movers.append(WaveDriver(rng, kit, joints, 0.8, world.duration_s, (0.8, 3.0), closing=True))
    for _ in range(int(rng.integers(2, 9))):
        scale = rng.uniform(0.015, 0.05)
        world.loose_thing(np.array([*rng.uniform(-0.25, 0.25, 2), top + 1.2 * scale]), scale)
    world.eye = orbit_eye(rng, np.array([0, 0, top + 0.1]), (0.5, 1.0), (0.15, 1.2), world.duration_s, still=0.6)


def bodies(world: World) -> None:
    """A humanoid, a two-armed robot, a mobile manipulator or a legged one, waving or wandering through a scene."""
    rng = world.rng
    _setting(world, clear=1.8)
    for k in range(1 if rng.random() < 0.75 else 2):
        kit = load_kit(BODIES[rng.integers(len(BODIES))])
        height = {"baxter": 0.93, "tiago": 0.0, "gr1": 0.95, "spot": 0.62}[kit.name]
        start = (rng.uniform(-0.4, 0.4), k * 1.2 - 0.4, rng.uniform(-math.pi, math.pi))
        pos = np.array([start[0], start[1], height])
        prefix, joints = world.add_kit(kit, pos, yaw_quat(start[2]), recolour=rng.random() < 0.5)
        world.movers.append(WaveDriver(rng, kit, joints, rng.uniform(0.4, 1.0), world.duration_s))
        if kit.name == "baxter":
            world.block(pos - [0, 0, height / 2], np.array([0.2, 0.2, height / 2]), textured=0.3)
        elif kit.name in ("tiago", "spot") or rng.random() < 0.5:
            path = GroundPath(rng, world.duration_s, start, (0.1, 0.7), radius=1.2)
            world.movers.append(BaseDriver(prefix, path))
    for _ in range(int(rng.integers(0, 5))):
        world.loose_thing(np.array([*rng.uniform(-1.0, 1.0, 2), 0.3]), rng.uniform(0.06, 0.2))
    world.eye = orbit_eye(rng, np.array([0, 0, 0.8]), (1.6, 2.6), (0.0, 0.7), world.duration_s)


def _gym_assets() -> Path:
    spec = importlib.util.find_spec("gymnasium")
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            "gymnasium is not installed, and its walkers appear in the wild videos: install the extra `lamplan[sim]`."
        )
    return Path(spec.submodule_search_locations[0]) / "envs" / "mujoco" / "assets"


def _add_walker(world: World, name: str, x: float, y: float) -> str:
    """Attaches one walker at (x, y) m; returns the name of its first body."""
    rng = world.rng
    file, _, strength = WALKERS[name]
    child = mujoco.MjSpec.from_file(str(_gym_assets() / file))
    for light in list(child.lights):
        child.delete(light)
    for camera in list(child.cameras):
        child.delete(camera)
    for geom in list(child.worldbody.geoms):
        child.delete(geom)
    for key in list(child.keys):
        child.delete(key)
    recolour = rng.random() < 0.8
    materials = [world.material(textured=0.4, cube=True) for _ in range(3)]
    prefix = world.name(name) + "_"
    frame = world.spec.worldbody.add_frame(pos=[x, y, 0.0], quat=yaw_quat(rng.uniform(-math.pi, math.pi)))
    first = child.worldbody.first_body().name
    for actuator in child.actuators:
        actuator.name = actuator.name or world.name("motor")
    world.spec.attach(child, prefix=prefix, frame=frame)
    if recolour:
        for geom in world.spec.geoms:
            if geom.name.startswith(prefix) or _belongs(geom, prefix):
                geom.material = materials[rng.integers(3)]
    world.movers.append(ControlDriver(rng, prefix, strength * rng.uniform(0.5, 1.3), (0.4, 2.0)))
    return prefix + first


def _belongs(geom: mujoco.MjsGeom, prefix: str) -> bool:
    return geom.parent.name.startswith(prefix)


def walkers(world: World) -> None:
    """One to three walkers, crawlers or swimmers, flailing about under smooth random controls."""
    rng = world.rng
    world.spec.option.timestep = 0.005
    _setting(world, clear=2.2)
    count = int(rng.choice([1, 2, 3], p=[0.5, 0.35, 0.15]))
    names = list(WALKERS)
    first = ""
    scale = 1.0
    for k in range(count):
        name = names[rng.integers(len(names))]
        first = _add_walker(world, name, *(rng.normal(0, 0.2, 2) if k == 0 else rng.uniform(-1.2, 1.2, 2)))
        if k == 0 and name == "reacher":
            scale = 0.4
    for _ in range(int(rng.integers(0, 6))):
        world.loose_thing(np.array([*rng.uniform(-1.2, 1.2, 2), rng.uniform(0.2, 0.8)]), rng.uniform(0.06, 0.22))
    if rng.random() < 0.35:
        follow = orbit_eye(rng, np.zeros(3), (1.8 * scale, 3.2 * scale), (0.1, 0.7), world.duration_s, still=0.7)

        def eye(model: mujoco.MjModel, data: mujoco.MjData, t: float) -> tuple[np.ndarray, np.ndarray]:
            pos, target = follow(model, data, t)
            shift = data.body(first).xpos * [1.0, 1.0, 0.3]
            return pos + shift, target + shift

        world.eye = eye
    else:
        world.eye = orbit_eye(
            rng, np.array([0, 0, 0.5]) * scale, (2.0 * scale, 3.6 * scale), (0.1, 0.9), world.duration_s
        )


def _add_car(world: World, path: GroundPath) -> str:
    """A wheeled body of primitives at the start of a path: chassis, cabin, four wheels that roll, at times a mast. Returns its base."""
    rng = world.rng
    prefix = world.name("car") + "_"
    length, width = rng.uniform(0.18, 0.5), rng.uniform(0.12, 0.3)
    wheel = rng.uniform(0.06, 0.14)
    base = world.spec.worldbody.add_body(name=prefix + "root", pos=[0, 0, wheel], mocap=True)
    box, cylinder = mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_CYLINDER
    tall = rng.uniform(0.04, 0.12)
    base.add_geom(
        type=box,
        size=[length, width, tall],
        pos=[0, 0, tall],
        material=world.material(textured=0.4),
        contype=2,
        conaffinity=0,
    )
    if rng.random() < 0.7:
        cabin = [length * rng.uniform(0.3, 0.7), width * 0.85, rng.uniform(0.05, 0.15)]
        at = [rng.uniform(-0.3, 0.3) * length, 0, 2 * tall + cabin[2]]
        base.add_geom(type=box, size=cabin, pos=at, material=world.material(textured=0.3), contype=2, conaffinity=0)
    if rng.random() < 0.3:
        mast = rng.uniform(0.1, 0.3)
        base.add_geom(
            type=cylinder,
            size=[0.02, mast, 0],
            pos=[-0.5 * length, 0, 2 * tall + mast],
            material=world.material(),
            contype=0,
        )
    paint = world.material(textured=0.6, cube=True)
    for i, j in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        name = f"{prefix}wheel{i}{j}"
        body = base.add_body(name=name, pos=[i * 0.7 * length, j * (width + 0.03), 0])
        body.add_joint(name=name, axis=[0, 1, 0])
        half = math.sqrt(0.5)
        body.add_geom(
            type=cylinder, size=[wheel, 0.03, 0], quat=[half, half, 0, 0], material=paint, contype=0, conaffinity=0
        )
        body.add_geom(type=box, size=[wheel * 0.8, 0.034, 0.012], rgba=[0.9, 0.9, 0.9, 1], contype=0, conaffinity=0)
        world.movers.append(_Rolling(name, path, wheel))
    world.movers.append(BaseDriver(prefix, path))
    return prefix + "root"


class _Rolling:
    """Turns a wheel as far as its car has driven."""

    def __init__(self, joint: str, path: GroundPath, radius: float):
        self._joint, self._path, self._radius = joint, path, radius

    def start(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        self._qpos = int(model.joint(self._joint).qposadr[0])
        self._dof = int(model.joint(self._joint).dofadr[0])
        self._angle, self._last = 0.0, self._path(0.0)[:2]

    def control(self, model: mujoco.MjModel, data: mujoco.MjData, t: float) -> None:
        here = self._path(t)[:2]
        self._angle += float(np.linalg.norm(here - self._last)) / self._radius
        self._last = here
        data.qpos[self._qpos], data.qvel[self._dof] = self._angle, 0.0


def wheeled(world: World) -> None:
    """One to four cars driving among obstacles, seen from the side, from above or from on board."""
    rng = world.rng
    count = int(rng.integers(1, 5))
    starts = [(*rng.uniform(-1.5, 1.5, 2), rng.uniform(-math.pi, math.pi)) for _ in range(count)]
    paths = [GroundPath(rng, world.duration_s, s, (0.2, 1.4), radius=2.0, turn=rng.uniform(0.5, 1.4)) for s in starts]
    if rng.random() < 0.4:
        _indoors(world)
    else:
        _outdoors(world, 1.0, int(rng.integers(6, 30)), far=10.0, path=paths[0])
    names = [_add_car(world, path) for path in paths]
    for _ in range(int(rng.integers(0, 6))):
        world.loose_thing(np.array([*rng.uniform(-2, 2, 2), 0.25]), rng.uniform(0.06, 0.2))
    pick = rng.random()
    if pick < 0.35:
        height = rng.uniform(0.35, 0.7)
        world.eye = mounted_eye(
            names[0], np.array([0.1, 0.0, height]), np.array([1.0, rng.uniform(-0.2, 0.2), rng.uniform(-0.35, 0.0)])
        )
    elif pick < 0.5:
        world.eye = mounted_eye(names[0], np.array([-1.3, 0.0, 0.9]), np.array([1.0, 0.0, -0.45]))
    else:
        world.eye = orbit_eye(rng, np.array([0.0, 0.0, 0.1]), (2.0, 4.0), (0.15, 1.3), world.duration_s)


def thrown(world: World) -> None:
    """Loose things that were pushed, dropped or thrown by nobody, on the ground or on a table."""
    rng = world.rng
    world.spec.option.timestep = 0.005
    big = rng.random() < 0.5
    if big:
        _setting(world, clear=2.0)
        top, unit = 0.0, 1.0
    else:
        _indoors(world)
        top, unit = _table(world), 0.45
    for _ in range(int(rng.integers(3, 14))):
        pos = np.array([*rng.uniform(-0.9, 0.9, 2) * unit, top + rng.uniform(0.1, 1.6) * unit])
        aim = -pos[:2] / max(float(np.linalg.norm(pos[:2])), 0.2) * rng.uniform(0.0, 1.8) * unit
        velocity = np.array(
            [*(aim + rng.normal(0, 0.4, 2) * unit), rng.uniform(-0.5, 3.0) * unit, *rng.normal(0, 4.0, 3)]
        )
        world.loose_thing(pos, rng.uniform(0.06, 0.22) * unit, velocity)
    target = np.array([0, 0, top + 0.3 * unit])
    world.eye = orbit_eye(rng, target, (1.8 * unit, 3.0 * unit), (0.1, 1.0), world.duration_s, still=0.65)


def journeys(world: World) -> None:
    """A camera that travels or turns through a scene in which nothing else, or little, moves."""
    rng = world.rng
    start = (*rng.uniform(-1.0, 1.0, 2), rng.uniform(-math.pi, math.pi))
    indoors = rng.random() < 0.35
    speed, radius, turn = ((0.1, 0.7), 1.4, 0.9) if indoors else ((0.3, 1.6), 6.0, 0.7)
    path = GroundPath(rng, world.duration_s, start, speed, radius=radius, turn=turn)
    if indoors:
        _indoors(world)
        if rng.random() < 0.3:
            _table(world)
    else:
        _outdoors(world, 0.8, int(rng.integers(15, 50)), far=12.0, path=path)
    if rng.random() < 0.3:
        for _ in range(int(rng.integers(1, 4))):
            begin = (*rng.uniform(-2, 2, 2), rng.uniform(-math.pi, math.pi))
            _add_car(world, GroundPath(rng, world.duration_s, begin, (0.2, 1.2), radius=3.0))
    if rng.random() < 0.8:
        world.eye = travelling_eye(rng, path, rng.uniform(0.25, 1.4), world.duration_s)
    else:
        target = np.array([0, 0, rng.uniform(0.2, 0.8)])
        world.eye = orbit_eye(rng, target, (1.2, 2.4), (0.1, 0.8), world.duration_s, still=0.0)


Family = Callable[[World], None]
FAMILIES: dict[str, tuple[float, Family]] = {
    "arms": (0.32, arms),
    "hands": (0.10, hands),
    "bodies": (0.10, bodies),
    "walkers": (0.14, walkers),
    "wheeled": (0.12, wheeled),
    "thrown": (0.10, thrown),
    "journeys": (0.12, journeys),
}


def draw_family(rng: np.random.Generator) -> str:
    """The family of a clip, drawn by weight."""
    weights = np.array([weight for weight, _ in FAMILIES.values()])
    return str(rng.choice(list(FAMILIES), p=weights / weights.sum()))
