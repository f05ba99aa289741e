"""Builds the MuJoCo model of the table world, once per environment, from robosuite's robots, grippers and arena."""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from lamplan.errors import InputError

logging.disable(logging.WARNING)  # on import robosuite warns about optional parts that are not used here

import robosuite  # noqa: E402
from robosuite.models.arenas import TableArena  # noqa: E402
from robosuite.models.bases import robot_base_factory  # noqa: E402
from robosuite.models.grippers import gripper_factory  # noqa: E402
from robosuite.models.robots import create_robot  # noqa: E402
from robosuite.models.tasks import ManipulationTask  # noqa: E402

logging.disable(logging.NOTSET)

ARMS = ("Panda", "Sawyer", "IIWA", "UR5e", "Kinova3", "Jaco", "XArm7")
OBJECT_SLOTS = 4
# Short peaks above robosuite's torque limits: its hands have more inertia than real ones, and 0.1 m in 0.25 s is brisk.
PEAK_TORQUE = 3.0
TABLE_SIZE = (0.8, 1.2, 0.05)  # m, along x, y, z
ROBOT_CONTACT, OBJECT_CONTACT = 2, 1  # contact bits
STEP_S = 0.25  # one control step
# Steps of physics in a control step: the linkages of the other arms' grippers need the finer ones.
PHYSICS_STEPS = {"Panda": 64, "Sawyer": 64}
FINE_PHYSICS_STEPS = 160
TEXTURES = ("light-wood", "dark-wood", "gray-woodgrain", "red-wood", "gray-felt", "clay", "white-plaster", "wood-tiles",
            "cream-plaster", "light-gray-floor-tile")
# A pixel of a 128 px image covers about 8 mm of the table, so finer triangles only cost time.
TRIANGLE_M = 0.004


@dataclass(frozen=True)
class Names:
    """What the environment needs to find in the model: indices into MuJoCo's arrays."""

    arm_qpos: np.ndarray
    arm_dof: np.ndarray
    arm_actuators: np.ndarray
    gripper_qpos: np.ndarray
    gripper_actuators: np.ndarray
    gripper_open: np.ndarray  # control values of the gripper's actuators
    gripper_closed: np.ndarray
    home: np.ndarray  # joint angles, rad
    grip_site: int
    base_body: int
    exterior: int
    wrist: int
    objects: tuple[int, ...]  # bodies
    object_qpos: tuple[int, ...]  # addresses of their free joints
    object_dof: tuple[int, ...]
    object_geoms: tuple[int, ...]
    table_geom: int
    floor_geom: int
    wall_geoms: tuple[int, ...]
    materials: tuple[int, ...]


def build(robot: str) -> tuple[mujoco.MjModel, Names]:
    """The compiled model of `robot` (one of robosuite's single arms) behind a table level with its base; the caller's own."""
    model, names = _build(robot)
    return copy.deepcopy(model), names


@cache  # compiling reads hundreds of meshes; a copy is made in milliseconds
def _build(robot: str) -> tuple[mujoco.MjModel, Names]:
    if robot not in ARMS:
        raise InputError(f"robot is '{robot}', expected one of robosuite's single arms: {', '.join(ARMS)}.")
    arm = create_robot(robot, idn=0)
    arm.add_base(robot_base_factory(arm.default_base, idn=0))
    arm.update_joints()
    arm.update_actuators()
    gripper = gripper_factory(arm.default_gripper["right"], idn="0_right")
    _place_gripper(arm, gripper)
    arm.add_gripper(gripper, arm.eef_name["right"])
    # The base stands at the edge of the table, and the table's top is the plane z = 0 of the base frame.
    arm.set_base_xpos((0.0, 0.0, 0.0))
    base_height = -float(arm.bottom_offset[2])
    arena = TableArena(TABLE_SIZE, table_offset=(0.15 + TABLE_SIZE[0] / 2, 0.0, base_height))
    arena.set_origin((0.0, 0.0, 0.0))

    spec = mujoco.MjSpec.from_string(ManipulationTask(arena, [arm]).get_xml())
    _make_servos(spec, arm.arm_actuators)
    _add_objects(spec)
    _add_scenery(spec, base_height)
    model = spec.compile()
    model.opt.timestep = STEP_S / PHYSICS_STEPS.get(robot, FINE_PHYSICS_STEPS)
    model.opt.integrator = mujoco.mjtIntegrator.mjINT_EULER
    model.opt.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    model.opt.impratio = 10.0  # stiffer friction: a held object does not creep out of the fingers
    _tune_servos(model, arm.arm_joints, arm.arm_actuators, np.asarray(arm.init_qpos))
    _quicken_fingers(model, gripper.actuators)
    _share_contacts(model)
    _coarsen_visual_meshes(model)

    opened, closed = _gripper_ends(model, gripper)
    joint = [model.joint(name) for name in arm.arm_joints]
    bodies = [model.body(f"object{i}") for i in range(OBJECT_SLOTS)]
    names = Names(
        arm_qpos=np.array([j.qposadr[0] for j in joint]), arm_dof=np.array([j.dofadr[0] for j in joint]),
        arm_actuators=np.array([model.actuator(name).id for name in arm.arm_actuators]),
        gripper_qpos=np.array([model.joint(name).qposadr[0] for name in gripper.joints]),
        gripper_actuators=np.array([model.actuator(name).id for name in gripper.actuators]),
        gripper_open=opened, gripper_closed=closed, home=np.asarray(arm.init_qpos, dtype=np.float64),
        grip_site=model.site(gripper.important_sites["grip_site"]).id, base_body=model.body(arm.root_body).id,
        exterior=model.camera("exterior").id, wrist=_wrist_camera(model),
        objects=tuple(body.id for body in bodies),
        object_qpos=tuple(int(model.jnt_qposadr[body.jntadr[0]]) for body in bodies),
        object_dof=tuple(int(model.jnt_dofadr[body.jntadr[0]]) for body in bodies),
        object_geoms=tuple(int(body.geomadr[0]) for body in bodies),
        table_geom=model.geom("table_visual").id, floor_geom=model.geom("floor").id,
        wall_geoms=tuple(i for i in range(model.ngeom) if model.geom(i).name.startswith("wall_")),
        materials=tuple(model.material(f"surface_{name}").id for name in TEXTURES),
    )
    return model, names


def _place_gripper(arm: Any, gripper: Any) -> None:
    """Some robosuite arms ask for a shifted gripper; this is where robosuite itself applies it."""
    body = gripper.worldbody.find("body")
    for offsets, attribute in ((arm.gripper_mount_pos_offset, "pos"), (arm.gripper_mount_quat_offset, "quat")):
        offset = offsets.get("right")
        if offset is not None:
            body.set(attribute, " ".join(str(float(value)) for value in offset))


def _make_servos(spec: mujoco.MjSpec, actuators: list[str]) -> None:
    """Turns torque motors into position servos of limited torque; the arm carries its own weight."""
    for name in actuators:
        actuator = spec.actuator(name)
        limit = np.array(actuator.ctrlrange)
        actuator.set_to_position(kp=1.0, kv=1.0)
        actuator.ctrllimited = False
        actuator.forcelimited, actuator.forcerange = True, PEAK_TORQUE * limit
    for body in spec.bodies:
        if body.name.startswith(("robot0_", "gripper0_")):
            body.gravcomp = 1.0


def _add_objects(spec: mujoco.MjSpec) -> None:
    """Free bodies that a scene shapes, paints and places, or parks."""
    for i in range(OBJECT_SLOTS):
        body = spec.worldbody.add_body(name=f"object{i}", pos=(0.0, 0.0, -1.0 - i), explicitinertial=True, mass=0.1,
                                       inertia=(1e-4, 1e-4, 1e-4))
        body.add_freejoint(name=f"object{i}_joint")
        body.add_geom(name=f"object{i}_geom", type=mujoco.mjtGeom.mjGEOM_BOX, size=(0.02, 0.02, 0.02), group=1,
                      friction=(1.0, 0.01, 0.0005), condim=4, solref=(0.01, 1.0))


def _tune_servos(model: mujoco.MjModel, joints: list[str], actuators: list[str], home: np.ndarray) -> None:
    """Stiffness by inertia: every joint answers like a critically damped mass at 9 Hz, whatever it carries."""
    data = mujoco.MjData(model)
    dofs = [model.joint(name).dofadr[0] for name in joints]
    for name, angle in zip(joints, home, strict=True):
        data.qpos[model.joint(name).qposadr[0]] = angle
    mujoco.mj_forward(model, data)
    mass = np.zeros((model.nv, model.nv))
    mujoco.mj_fullM(model, mass, data.qM)
    rate = 2 * np.pi * 9.0
    for dof, name in zip(dofs, actuators, strict=True):
        inertia = mass[dof, dof] + 0.05
        index = model.actuator(name).id
        model.dof_damping[dof] = model.dof_frictionloss[dof] = 0.0  # the servo's own damping takes their place
        model.actuator_gainprm[index, 0] = inertia * rate**2
        model.actuator_biasprm[index, :3] = 0.0, -inertia * rate**2, -2.0 * inertia * rate


def _quicken_fingers(model: mujoco.MjModel, actuators: list[str]) -> None:
    """Lets sliding fingers cross their whole range within a step; robosuite's need about two."""
    for name in actuators:
        index = model.actuator(name).id
        if model.jnt_type[model.actuator_trnid[index, 0]] == mujoco.mjtJoint.mjJNT_SLIDE:
            model.actuator_gainprm[index, 0] *= 3.0
            model.actuator_biasprm[index, 1] *= 3.0
            model.actuator_forcerange[index] *= 2.0


def _share_contacts(model: mujoco.MjModel) -> None:
    """Robot parts touch the table and objects, never each other: some robosuite arms rub against their own pedestal."""
    for geom in range(model.ngeom):
        solid = bool(model.geom_contype[geom] or model.geom_conaffinity[geom])
        robot = model.body(model.geom_bodyid[geom]).name.startswith(("robot0_", "gripper0_"))
        model.geom_contype[geom] = 0 if not solid else ROBOT_CONTACT if robot else OBJECT_CONTACT
        model.geom_conaffinity[geom] = 0 if not solid or robot else ROBOT_CONTACT | OBJECT_CONTACT


def _add_scenery(spec: mujoco.MjSpec, base_height: float) -> None:
    """Cameras, and the surfaces among which a scene chooses."""
    spec.worldbody.add_camera(name="exterior", pos=(1.2, 0.0, base_height + 0.6))
    folder = Path(robosuite.__path__[0]) / "models" / "assets" / "textures"
    for name in TEXTURES:
        spec.add_texture(name=f"surface_{name}", type=mujoco.mjtTexture.mjTEXTURE_2D, file=str(folder / f"{name}.png"))
        material = spec.add_material(name=f"surface_{name}", texrepeat=(2.0, 2.0), texuniform=True, specular=0.1, shininess=0.1)
        material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = f"surface_{name}"
    spec.visual.quality.offsamples = 0


def _wrist_camera(model: mujoco.MjModel) -> int:
    return next(i for i in range(model.ncam) if "eye_in_hand" in model.camera(i).name)


def _gripper_ends(model: mujoco.MjModel, gripper: Any) -> tuple[np.ndarray, np.ndarray]:
    """Actuator values of the open and of the closed hand, asked of robosuite's own one-number gripper command."""
    index = [model.actuator(name).id for name in gripper.actuators]
    low, high = model.actuator_ctrlrange[index].T
    ends = []
    for sign in (-1.0, 1.0):
        for _ in range(300):  # the command moves by the gripper's speed per call, and saturates
            command = np.asarray(gripper.format_action(np.array([sign])))
        ends.append((low + high) / 2 + (high - low) / 2 * command)
    return ends[0], ends[1]


def _coarsen_visual_meshes(model: mujoco.MjModel) -> None:
    """Merges the corners of meshes that only serve the eye on a grid of TRIANGLE_M and drops what collapses.

    Shape and collisions stay as they are: only the list of drawn triangles gets shorter (about a tenth remains).
    """
    is_mesh = model.geom_type == mujoco.mjtGeom.mjGEOM_MESH
    for mesh in {int(i) for i in model.geom_dataid[is_mesh & (model.geom_group == 1)]}:
        first, count = int(model.mesh_faceadr[mesh]), int(model.mesh_facenum[mesh])
        corner, corners = int(model.mesh_vertadr[mesh]), int(model.mesh_vertnum[mesh])
        cell = np.floor(model.mesh_vert[corner:corner + corners] / TRIANGLE_M).astype(np.int64)
        _, keeper, group = np.unique(cell, axis=0, return_index=True, return_inverse=True)
        faces = keeper[group.reshape(-1)][model.mesh_face[first:first + count]]
        kept = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
        _, unique = np.unique(np.sort(faces[kept], axis=1), axis=0, return_index=True)
        rows = np.flatnonzero(kept)[np.sort(unique)]
        end = first + len(rows)
        model.mesh_facenormal[first:end] = model.mesh_facenormal[first:first + count][rows]
        model.mesh_facetexcoord[first:end] = model.mesh_facetexcoord[first:first + count][rows]
        model.mesh_face[first:end] = faces[rows]
        model.mesh_facenum[mesh] = len(rows)
