"""`Kit`: a robot or a hand of robosuite, read once and made light enough to be built into a new scene for every clip.

The original meshes have 50 to 400 thousand faces, which software rendering pays for in every frame and the model compiler
in every scene. At 128 px a vertex grid of a few millimetres looks the same and costs a tenth.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import mujoco
import numpy as np

from lamplan.errors import InputError

HELD_OUT = ("panda",)


@dataclass(frozen=True)
class Hinge:
    """One joint of a link: MuJoCo type, axis and position in the link's frame, range (rad or m)."""

    kind: int
    axis: np.ndarray
    pos: np.ndarray
    low: float
    high: float


@dataclass(frozen=True)
class Link:
    """One body of a kit: where it hangs on its parent (-1: the root), its joints, its coloured meshes and a box about them."""

    name: str
    parent: int
    pos: np.ndarray
    quat: np.ndarray
    hinges: tuple[Hinge, ...]
    parts: tuple[tuple[np.ndarray, np.ndarray, np.ndarray], ...]
    box: tuple[np.ndarray, np.ndarray] | None


@dataclass(frozen=True)
class Kit:
    """Links in depth-first order and the joint values (J,) of a natural pose, in the order of the links' joints."""

    name: str
    links: tuple[Link, ...]
    neutral: np.ndarray
    tips: tuple[str, ...] = field(default=())

    def limits(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper joint limits (J,), at most half a turn to each side of the natural pose."""
        hinges = [h for link in self.links for h in link.hinges]
        low = np.maximum([h.low for h in hinges], self.neutral - np.pi)
        high = np.minimum([h.high for h in hinges], self.neutral + np.pi)
        return low, high


# Natural poses (rad): elbow up and tool down, so that an arm starts where it can work.
ARMS: dict[str, tuple[str, list[float]]] = {
    "sawyer": ("rethink_gripper", [0.0, -1.18, 0.0, 2.18, 0.0, 0.57, -1.57]),
    "iiwa": ("robotiq_gripper_140", [0.0, 0.65, 0.0, -1.89, 0.0, 0.6, 0.0]),
    "ur5e": ("robotiq_gripper_85", [-0.47, -1.735, 2.48, -2.275, -1.59, -1.991]),
    "kinova3": ("robotiq_gripper_85", [0.0, 0.65, 0.0, 1.89, 0.0, 0.6, -1.57]),
    "jaco": ("jaco_three_finger_gripper", [3.192, 3.68, 0.0, 1.17, 0.05, 3.76, 3.142]),
    "xarm7": ("xarm7_gripper", [0.0, 0.0, 0.0, 1.2252, 0.0, 1.2252, 0.0]),
    "spot_arm": ("bd_gripper", [0.0, -1.2, 1.85, 0.0, 0.862, 0.0]),
}
BODIES = ("baxter", "tiago", "gr1", "spot")
HANDS = (
    "fourier_left_hand",
    "fourier_right_hand",
    "inspire_left_hand",
    "inspire_right_hand",
    "jaco_three_finger_gripper",
    "robotiq_gripper_85",
    "robotiq_gripper_140",
    "robotiq_gripper_s",
    "rethink_gripper",
)
_BODY_POSES: dict[str, dict[str, float]] = {
    "baxter": {
        "right_s0": 0.403, "right_s1": -0.636, "right_e0": 0.114, "right_e1": 1.432, "right_w0": 0.735, "right_w1": 1.205,
        "left_s0": -0.403, "left_s1": -0.636, "left_e0": -0.114, "left_e1": 1.432, "left_w0": -0.735, "left_w1": 1.205,
    },
    "tiago": {"torso_lift_joint": 0.1, "arm_right_4_joint": 1.7, "arm_left_4_joint": 1.7},
    "gr1": {"r_elbow_pitch": -1.57, "l_elbow_pitch": -1.57, "r_shoulder_roll": -0.1, "l_shoulder_roll": 0.1},
    "spot": {f"{leg}_{joint}": value for leg in ("fl", "fr", "hl", "hr") for joint, value in (("hy", 0.85), ("kn", -1.5))},
}  # fmt: skip


def _assets() -> Path:
    # Found without importing robosuite, which takes seconds and prints notices.
    spec = importlib.util.find_spec("robosuite")
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            "robosuite is not installed, and its robots appear in the wild videos: install the extra `lamplan[sim]`."
        )
    return Path(spec.submodule_search_locations[0]) / "models" / "assets"


def _simplify(vertices: np.ndarray, faces: np.ndarray, cell: float) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) merged on a grid of `cell` metres, and the faces (F, 3) that still have three corners."""
    _, index, inverse = np.unique(
        np.round(vertices / cell).astype(np.int64), axis=0, return_index=True, return_inverse=True
    )
    merged = inverse.reshape(-1)[faces]
    keep = (merged[:, 0] != merged[:, 1]) & (merged[:, 1] != merged[:, 2]) & (merged[:, 0] != merged[:, 2])
    merged = merged[keep]
    _, first = np.unique(np.sort(merged, axis=1), axis=0, return_index=True)
    return vertices[index], merged[np.sort(first)]


def _parts(model: mujoco.MjModel, body: int, cell: float) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The visible meshes of a body in its own frame, merged by colour: (vertices, faces, rgba) each."""
    by_colour: dict[tuple[float, ...], list[tuple[np.ndarray, np.ndarray]]] = {}
    rotation = np.zeros(9)
    for g in range(model.body_geomadr[body], model.body_geomadr[body] + model.body_geomnum[body]):
        if model.geom_type[g] != mujoco.mjtGeom.mjGEOM_MESH or model.geom_group[g] != 1:
            continue
        mesh = model.geom_dataid[g]
        at, count = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
        f_at, f_count = model.mesh_faceadr[mesh], model.mesh_facenum[mesh]
        mujoco.mju_quat2Mat(rotation, model.geom_quat[g])
        vertices = model.mesh_vert[at : at + count] @ rotation.reshape(3, 3).T + model.geom_pos[g]
        material = model.geom_matid[g]
        rgba = model.geom_rgba[g] if material < 0 else model.mat_rgba[material]
        if rgba[3] < 0.5:
            continue
        by_colour.setdefault(tuple(np.round(rgba, 2).tolist()), []).append(
            (vertices, model.mesh_face[f_at : f_at + f_count])
        )
    parts = []
    for colour, meshes in by_colour.items():
        offsets = np.cumsum([0] + [len(v) for v, _ in meshes[:-1]])
        vertices = np.concatenate([v for v, _ in meshes])
        faces = np.concatenate([f + o for (_, f), o in zip(meshes, offsets, strict=True)])
        vertices, faces = _simplify(vertices, faces, cell)
        if len(faces) >= 4 and np.linalg.matrix_rank(vertices - vertices.mean(0), tol=1e-4) == 3:
            parts.append((vertices, faces, np.array(colour)))
    return parts


def _clean_xml(file: Path) -> str:
    """The MJCF text of `file` without what robosuite's own merging tolerates and MuJoCo's reader refuses: assets named twice
    and a drawing group on a class of defaults."""
    root = ElementTree.parse(file).getroot()
    for default in root.iter("default"):
        default.attrib.pop("group", None)
    for asset in root.iter("asset"):
        seen: set[tuple[str, str | None]] = set()
        for element in list(asset):
            key = (element.tag, element.get("name"))
            if key in seen:
                asset.remove(element)
            seen.add(key)
    compiler = root.find("compiler")
    if compiler is None:
        compiler = ElementTree.SubElement(root, "compiler")
    for folder in ("meshdir", "texturedir"):
        compiler.set(folder, str(file.parent / compiler.get(folder, "")))
    return ElementTree.tostring(root, encoding="unicode")


def _read(file: Path, cell: float) -> tuple[tuple[Link, ...], dict[str, int]]:
    """Links of an MJCF file and the index of each joint by name."""
    spec = mujoco.MjSpec.from_string(_clean_xml(file))
    spec.compiler.degree = False  # robosuite's files are in radians, some without saying so
    model = spec.compile()
    links: list[Link] = []
    joints: dict[str, int] = {}
    for body in range(1, model.nbody):
        hinges = []
        for j in range(model.body_jntadr[body], model.body_jntadr[body] + model.body_jntnum[body]):
            if model.jnt_type[j] not in (mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_SLIDE):
                continue
            low, high = model.jnt_range[j] if model.jnt_limited[j] else (-np.pi, np.pi)
            joints[model.joint(j).name] = len(joints)
            hinges.append(Hinge(int(model.jnt_type[j]), model.jnt_axis[j].copy(), model.jnt_pos[j].copy(), low, high))
        parts = _parts(model, body, cell)
        box = None
        if parts:
            points = np.concatenate([v for v, _, _ in parts])
            low_corner, high_corner = points.min(0), points.max(0)
            box = ((low_corner + high_corner) / 2, np.maximum((high_corner - low_corner) / 2, 0.003))
        parent = int(model.body_parentid[body]) - 1
        pos, quat = model.body_pos[body].copy(), model.body_quat[body].copy()
        if model.body_jntnum[body] and model.jnt_type[model.body_jntadr[body]] == mujoco.mjtJoint.mjJNT_FREE:
            pos = np.zeros(3)  # where a free body starts is its scene's choice
        links.append(Link(model.body(body).name, parent, pos, quat, tuple(hinges), tuple(parts), box))
    return tuple(links), joints


def _hang(links: tuple[Link, ...], onto: int, hand: tuple[Link, ...]) -> tuple[Link, ...]:
    """The links of a robot with those of a hand hung on link `onto`."""
    offset = len(links)
    moved = [
        Link(f"{h.name}_of_hand", h.parent + offset if h.parent >= 0 else onto, h.pos, h.quat, h.hinges, h.parts, h.box)
        for h in hand
    ]
    return links + tuple(moved)


@cache
def load_kit(name: str) -> Kit:
    """The arm with its gripper, the whole body or the hand called `name` (a key of ARMS, of BODIES or of HANDS)."""
    if any(word in name for word in HELD_OUT):
        raise InputError(f"'{name}' is the benchmark's robot and is held out of the wild videos.")
    if name in HANDS:
        links, joints = _read(_assets() / "grippers" / f"{name}.xml", cell=0.004)
        return Kit(name, links, np.zeros(len(joints)))
    links, joints = _read(_assets() / "robots" / name / "robot.xml", cell=0.012 if name in ARMS else 0.018)
    if name in ARMS:
        gripper, pose = ARMS[name]
        tip = next(k for k, link in enumerate(links) if link.name == "right_hand")
        hand, fingers = _read(_assets() / "grippers" / f"{gripper}.xml", cell=0.006)
        neutral = np.concatenate([pose, np.zeros(len(fingers))])
        return Kit(name, _hang(links, tip, hand), neutral, tips=("right_hand",))
    if name in BODIES:
        neutral = np.array([_BODY_POSES[name].get(joint, 0.0) for joint in joints])
        tips = tuple(link.name for link in links if link.name in ("right_hand", "left_hand"))
        return Kit(name, links, neutral, tips)
    raise InputError(f"no robot is called '{name}': choose one of {', '.join([*ARMS, *BODIES, *HANDS])}.")
