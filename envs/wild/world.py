"""`World`: a MuJoCo scene under construction, with random looks, and the list of what moves in it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import mujoco
import numpy as np

from envs.wild.kits import Kit
from envs.wild.textures import random_colour, random_sky, random_texture

GEOM = mujoco.mjtGeom
PRIMITIVES = (GEOM.mjGEOM_BOX, GEOM.mjGEOM_SPHERE, GEOM.mjGEOM_CYLINDER, GEOM.mjGEOM_CAPSULE, GEOM.mjGEOM_ELLIPSOID)
EYE = "eye"
DRIVEN_MASS = 1.0


class Mover(Protocol):
    """Something that moves by itself: `start` once after compilation, `control` before every physics step."""

    def start(self, model: mujoco.MjModel, data: mujoco.MjData) -> None: ...

    def control(self, model: mujoco.MjModel, data: mujoco.MjData, t: float) -> None: ...


EyePose = Callable[[mujoco.MjModel, mujoco.MjData, float], tuple[np.ndarray, np.ndarray]]
"""Camera path: (model, data, t in s) -> eye position (3,) m and the point (3,) m that it looks at."""


def yaw_quat(yaw: float) -> np.ndarray:
    """The unit quaternion (w, x, y, z) of a turn by `yaw` (rad) about z."""
    return np.array([math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2)])


def random_quat(rng: np.random.Generator) -> np.ndarray:
    """A uniformly random unit quaternion (4,)."""
    q = rng.normal(size=4)
    return q / np.linalg.norm(q)


class World:
    """Collects geometry, movers and the camera's path; `family` modules fill one per clip."""

    def __init__(self, rng: np.random.Generator, duration_s: float, timestep: float = 0.01):
        self.rng = rng
        self.duration_s = duration_s
        self.movers: list[Mover] = []
        self.eye: EyePose | None = None
        self.spec = mujoco.MjSpec()
        self._count = 0
        option = self.spec.option
        option.timestep = timestep
        option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
        option.iterations = 20
        self.spec.visual.quality.offsamples = 0
        self.spec.visual.map.znear = 0.005
        self.spec.visual.map.zfar = 60.0
        self.spec.stat.extent = 2.0
        self.spec.stat.center = [0.0, 0.0, 0.0]
        ambient = rng.uniform(0.18, 0.4)
        self.spec.visual.headlight.ambient = np.full(3, ambient)
        self.spec.visual.headlight.diffuse = np.full(3, rng.uniform(0.0, 0.35))
        self.spec.visual.headlight.specular = np.zeros(3)
        eye = self.spec.worldbody.add_body(name=EYE, mocap=True)
        eye.add_camera(name=EYE, fovy=rng.uniform(42.0, 72.0))
        self._add_sky()
        self._add_lights()

    def name(self, kind: str) -> str:
        """A name that no other element of this world has."""
        self._count += 1
        return f"{kind}{self._count}"

    def _add_sky(self) -> None:
        size = 64
        sky = random_sky(self.rng, size)
        texture = self.spec.add_texture(name="sky", type=mujoco.mjtTexture.mjTEXTURE_SKYBOX, nchannel=3)
        texture.width, texture.height = size, 6 * size
        texture.data = sky.tobytes()

    def _add_lights(self) -> None:
        rng = self.rng
        for _ in range(int(rng.integers(1, 4))):
            pos = np.array([rng.uniform(-3, 3), rng.uniform(-3, 3), rng.uniform(2.0, 4.0)])
            tint = np.clip(rng.normal(1.0, 0.12, 3), 0.6, 1.3)
            self.spec.worldbody.add_light(
                name=self.name("light"),
                pos=pos,
                dir=np.array([rng.uniform(-1, 1), rng.uniform(-1, 1), 0.0]) - pos,
                type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL
                if rng.random() < 0.6
                else mujoco.mjtLightType.mjLIGHT_SPOT,
                cutoff=70.0,
                diffuse=tint * rng.uniform(0.25, 0.6),
                specular=np.full(3, rng.uniform(0.0, 0.3)),
                castshadow=False,
            )

    def material(self, repeat: float = 1.0, textured: float = 0.6, cube: bool = False) -> str:
        """A new random material's name: textured with that probability, else of one colour. `repeat`: copies of the
        texture across a plane or a box face; `cube`: wrap it around the object instead."""
        rng = self.rng
        name = self.name("material")
        material = self.spec.add_material(name=name)
        material.specular, material.shininess = rng.uniform(0.0, 0.6), rng.uniform(0.1, 0.8)
        if rng.random() >= textured:
            material.rgba = [*random_colour(rng), 1.0]
            return name
        image = random_texture(rng)
        kind = mujoco.mjtTexture.mjTEXTURE_CUBE if cube else mujoco.mjtTexture.mjTEXTURE_2D
        texture = self.spec.add_texture(name=f"{name}_texture", type=kind, nchannel=3)
        if cube:
            image = np.concatenate([image] * 6)
        texture.width, texture.height = image.shape[1], image.shape[0]
        texture.data = image.tobytes()
        material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = f"{name}_texture"
        material.texrepeat = [repeat, repeat]
        return name

    def floor(self, size: float = 20.0) -> None:
        """A ground plane, `size` metres from the centre to its rim."""
        material = self.material(repeat=float(size * self.rng.uniform(0.3, 1.0)), textured=0.85)
        self.spec.worldbody.add_geom(name="floor", type=GEOM.mjGEOM_PLANE, size=[size, size, 1.0], material=material)

    def block(
        self, pos: np.ndarray, half: np.ndarray, yaw: float = 0.0, repeat: float = 1.0, textured: float = 0.6
    ) -> None:
        """A fixed box, e.g. a wall, a table or a house."""
        self.spec.worldbody.add_geom(
            name=self.name("block"),
            type=GEOM.mjGEOM_BOX,
            size=half,
            pos=pos,
            quat=yaw_quat(yaw),
            material=self.material(repeat, textured),
        )

    def room(self, half: float, height: float, walls: int = 4) -> None:
        """Walls around the origin at `half` metres, `height` metres high."""
        for k in range(walls):
            angle = k * math.pi / 2
            pos = np.array([half * math.cos(angle), half * math.sin(angle), height / 2])
            size = np.array([0.05, half + 0.05, height / 2])
            self.block(pos, size, angle, repeat=float(self.rng.uniform(1, 4)), textured=0.7)

    def fixed_thing(self, pos: np.ndarray, scale: float) -> None:
        """A fixed primitive of about `scale` metres standing at `pos` (its foot)."""
        kind = PRIMITIVES[self.rng.integers(len(PRIMITIVES))]
        size = scale * self.rng.uniform(0.3, 1.0, 3)
        lift = size[0] if kind == GEOM.mjGEOM_SPHERE else size[2] if kind != GEOM.mjGEOM_CYLINDER else size[1]
        self.spec.worldbody.add_geom(
            name=self.name("thing"),
            type=kind,
            size=size,
            pos=np.asarray(pos) + [0.0, 0.0, lift],
            quat=yaw_quat(self.rng.uniform(0, 6.28)),
            material=self.material(cube=kind != GEOM.mjGEOM_BOX),
        )

    def tree(self, pos: np.ndarray, height: float) -> None:
        """A trunk with one to three crowns, its foot at `pos`."""
        rng = self.rng
        trunk = rng.uniform(0.04, 0.09) * height
        brown = [*np.clip(random_colour(rng, (0.1, 0.5)) * [0.8, 0.6, 0.4], 0, 1), 1.0]
        body = self.spec.worldbody
        body.add_geom(
            name=self.name("trunk"),
            type=GEOM.mjGEOM_CYLINDER,
            size=[trunk, height / 3, 0],
            pos=np.asarray(pos) + [0, 0, height / 3],
            rgba=brown,
        )
        leaves = self.material(textured=0.7, cube=True)
        for _ in range(int(rng.integers(1, 4))):
            size = height * rng.uniform([0.15, 0.15, 0.15], [0.35, 0.35, 0.4])
            at = np.asarray(pos) + [*rng.normal(0, 0.06 * height, 2), height * rng.uniform(0.65, 0.9)]
            body.add_geom(name=self.name("crown"), type=GEOM.mjGEOM_ELLIPSOID, size=size, pos=at, material=leaves)

    def loose_thing(self, pos: np.ndarray, scale: float, velocity: np.ndarray | None = None) -> str:
        """A free body of one or two primitives of about `scale` metres at `pos`; with a `velocity` (6,)
        in m/s and rad/s it starts so, and is kicked again at times."""
        rng = self.rng
        name = self.name("loose")
        body = self.spec.worldbody.add_body(name=name, pos=pos, quat=yaw_quat(rng.uniform(0, 6.28)))
        body.add_freejoint(name=name)
        for k in range(1 if rng.random() < 0.75 else 2):
            kind = PRIMITIVES[rng.integers(len(PRIMITIVES))]
            body.add_geom(
                name=self.name("part"),
                type=kind,
                size=scale * rng.uniform(0.35, 0.9, 3),
                pos=[0, 0, 0] if k == 0 else rng.uniform(-0.6, 0.6, 3) * scale,
                material=self.material(textured=0.45, cube=kind != GEOM.mjGEOM_BOX),
                density=300.0,
                friction=[rng.uniform(0.3, 0.9), 0.01, 0.002],
                condim=4,
                conaffinity=3,
            )
        if velocity is not None:
            size = np.repeat([np.linalg.norm(velocity[:3]) / 1.7, 2.5], 3)
            times = np.cumsum(rng.uniform(0.7, 2.5, int(self.duration_s)))
            kicks = [(float(t), rng.normal(0.0, size) * np.array([1.0, 1.0, 0.8, 1.0, 1.0, 1.0])) for t in times]
            self.movers.append(_Shove(name, velocity, kicks))
        return name

    def add_kit(
        self, kit: Kit, pos: np.ndarray, quat: np.ndarray, recolour: bool, collide: bool = True
    ) -> tuple[str, list[str]]:
        """Builds the kit on a movable (mocap) base at `pos`, `quat`; returns the prefix of its bodies' names and the names
        of its joints in the kit's order."""
        prefix = self.name("kit") + "_"
        rng = self.rng
        root = self.spec.worldbody.add_body(name=prefix + "root", pos=pos, quat=quat, mocap=True)
        paint: dict[tuple[float, ...], list[float]] = {}
        bodies: list[mujoco.MjsBody] = []
        joints: list[str] = []
        for k, link in enumerate(kit.links):
            parent = root if link.parent < 0 else bodies[link.parent]
            body = parent.add_body(name=f"{prefix}{link.name}", pos=link.pos, quat=link.quat, gravcomp=1.0)
            body.mass, body.inertia, body.ipos, body.explicitinertial = DRIVEN_MASS, np.full(3, 0.01), np.zeros(3), True
            bodies.append(body)
            for hinge in link.hinges:
                joints.append(f"{prefix}joint{len(joints)}")
                body.add_joint(name=joints[-1], type=mujoco.mjtJoint(hinge.kind), axis=hinge.axis, pos=hinge.pos)
            for i, (vertices, faces, rgba) in enumerate(link.parts):
                mesh = self.spec.add_mesh(
                    name=f"{prefix}mesh{k}_{i}", inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL
                )
                mesh.uservert, mesh.userface = vertices.reshape(-1), faces.reshape(-1)
                key = tuple(rgba)
                if key not in paint:
                    paint[key] = [*random_colour(rng), 1.0] if recolour else list(rgba)
                body.add_geom(
                    name=f"{prefix}part{k}_{i}",
                    type=GEOM.mjGEOM_MESH,
                    meshname=mesh.name,
                    rgba=paint[key],
                    contype=0,
                    conaffinity=0,
                    group=1,
                )
            if link.box is not None and collide:
                # Bit 2 only: boxes of a kit push loose things and never its own links, other kits or the fixed world.
                body.add_geom(
                    name=f"{prefix}box{k}",
                    type=GEOM.mjGEOM_BOX,
                    size=link.box[1],
                    pos=link.box[0],
                    contype=2,
                    conaffinity=0,
                    group=3,
                )
        return prefix, joints

    def compile(self) -> tuple[mujoco.MjModel, mujoco.MjData]:
        """The finished scene, movers started."""
        model = self.spec.compile()
        data = mujoco.MjData(model)
        mujoco.mj_forward(model, data)
        for mover in self.movers:
            mover.start(model, data)
        mujoco.mj_forward(model, data)
        return model, data


class _Shove:
    """Gives one free body its first velocity and a kick every other second, else leaves it alone."""

    def __init__(self, body: str, velocity: np.ndarray, kicks: list[tuple[float, np.ndarray]]):
        """`velocity` (6,): m/s and rad/s. `kicks`: times (s) and the velocities (6,) added then."""
        self._body, self._velocity, self._kicks = body, velocity, kicks

    def start(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        self._at = int(model.joint(self._body).dofadr[0])
        self._next = 0
        data.qvel[self._at : self._at + 6] = self._velocity

    def control(self, model: mujoco.MjModel, data: mujoco.MjData, t: float) -> None:
        if self._next < len(self._kicks) and t >= self._kicks[self._next][0]:
            data.qvel[self._at : self._at + 6] += self._kicks[self._next][1]
            self._next += 1
