"""`Info`: what `meta/info.json` of a LeRobot data set says, checked."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lamplan.errors import DataError
from lamplan.logs.files import member, read_json
from lamplan.logs.poses import Pose, other_than_pose, pose_from_names

STATE = "observation.state"
# The DROID set converted to LeRobot keeps the pose in two columns, in this order.
DROID_STATE = (f"{STATE}.cartesian_position", f"{STATE}.gripper_position")
ACTION = "action"
VERSION = re.compile(r"v?(\d+)\.\d+")


@dataclass(frozen=True)
class Info:
    """The layout of a data set.

    version:  2 (one Parquet file and one video per episode) or 3 (many episodes per file).
    fps:      the rate that the header claims; the time stamps are believed where they differ.
    state:    columns whose values side by side are the state. pose: how the robot's pose is taken out of them.
    action:   whether there is a column of commands.
    cameras:  name to feature key. videos: the keys among them that are video files; the others lie in the Parquet file.
    sizes:    feature key to (height, width) of its pictures, where the header tells.
    """

    root: Path
    version: int
    fps: float | None
    robot: str
    chunks_size: int
    data_path: str
    video_path: str
    state: tuple[str, ...]
    pose: Pose
    action: bool
    cameras: dict[str, str]
    videos: frozenset[str]
    sizes: dict[str, tuple[int, int]]

    @property
    def where(self) -> str:
        return str(self.root)


def read_info(root: Path) -> Info:
    """Reads `root/meta/info.json`. DataError says what in it is missing or of a version that is not read."""
    path = member(root, "meta/info.json", str(root))
    table = read_json(path)
    version = _version(table.get("codebase_version"), path)
    features = table.get("features")
    if not isinstance(features, dict) or not all(isinstance(feature, dict) for feature in features.values()):
        raise DataError(f"{path}: 'features' must say what the columns hold, found {str(features)[:80]}.")
    state = next((names for names in ((STATE,), DROID_STATE) if all(name in features for name in names)), None)
    if state is None:
        raise DataError(f"{path}: the data set has no '{STATE}' (the robot's pose); it has {', '.join(features)[:300]}.")
    pictures = {key: feature for key, feature in features.items() if feature.get("dtype") in ("video", "image") and not _is_depth(feature)}
    fps = table.get("fps")
    chunks_size = table.get("chunks_size", 1000)
    if not isinstance(chunks_size, int) or chunks_size < 1:
        raise DataError(f"{path}: 'chunks_size' must be a positive number of files, found {str(chunks_size)[:80]}.")
    return Info(
        root=root, version=version, robot=str(table.get("robot_type") or ""), chunks_size=chunks_size,
        fps=float(fps) if isinstance(fps, int | float) and 0 < fps < math.inf else None,
        data_path=_template(table, "data_path", path),
        video_path=_template(table, "video_path", path) if any(feature["dtype"] == "video" for feature in pictures.values()) else "",
        state=state, pose=_pose(state, features, path), action=_is_vector(features.get(ACTION)),
        cameras={_camera(key): key for key in sorted(pictures)},
        videos=frozenset(key for key, feature in pictures.items() if feature["dtype"] == "video"),
        sizes={key: size for key, feature in pictures.items() if (size := _size(feature)) is not None},
    )


def _version(text: Any, path: Path) -> int:
    match = VERSION.fullmatch(text) if isinstance(text, str) else None
    major = int(match.group(1)[:4]) if match else None
    if major not in (2, 3):
        raise DataError(f"{path}: 'codebase_version' is {str(text)[:40]!r}; v2.0, v2.1 and v3 of LeRobotDataset are read. Convert the set "
                        "with LeRobot's own tools first.")
    return major


def _template(table: dict[str, Any], key: str, path: Path) -> str:
    value = table.get(key)
    if not isinstance(value, str):
        raise DataError(f"{path}: '{key}' must be a path with fields, such as data/chunk-{{chunk_index:03d}}/..., found {str(value)[:80]}.")
    return value


def _camera(key: str) -> str:
    """`observation.images.wrist_image` -> `wrist_image`."""
    return key.removeprefix("observation.images.").removeprefix("observation.")


def _is_depth(feature: dict[str, Any]) -> bool:
    notes = [feature.get("info"), feature.get("video_info")]
    return any(note.get(key) is True for note in notes if isinstance(note, dict) for key in ("is_depth_map", "video.is_depth_map"))


def _is_vector(feature: dict[str, Any] | None) -> bool:
    return feature is not None and str(feature.get("dtype", "")).startswith(("float", "int"))


def _size(feature: dict[str, Any]) -> tuple[int, int] | None:
    """(H, W) from `shape`, which holds the channels first or last, as `names` say."""
    shape, names = feature.get("shape"), feature.get("names")
    if not isinstance(shape, list) or len(shape) != 3 or not all(isinstance(size, int) for size in shape):
        return None
    first = isinstance(names, list) and names[:1] in (["channels"], ["channel"])
    return (shape[1], shape[2]) if first else (shape[0], shape[1])


def _names(feature: dict[str, Any]) -> list[str]:
    """The names of a vector: a list, or a list under a word such as `motors` or `axes`."""
    names = feature.get("names")
    if isinstance(names, dict) and len(names) == 1:
        names = next(iter(names.values()))
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else []


def _pose(state: tuple[str, ...], features: dict[str, Any], path: Path) -> Pose:
    names = _names(features[STATE]) if state == (STATE,) else []
    if other := other_than_pose(names):
        raise DataError(f"{path}: by its names ({', '.join(names)[:200]}) '{STATE}' holds {other}; expected the hand's pose (x, y, z, "
                        "roll, pitch, yaw, gripper) or a mobile robot's (x, y, yaw): convert it, or correct the names where it is one.")
    pose = pose_from_names(names)
    return _as_it_stands if pose is None else _checked(pose, len(names))


def _checked(pose: Pose, width: int) -> Callable[[np.ndarray], np.ndarray]:
    def convert(states: np.ndarray) -> np.ndarray:
        if states.shape[1] != width:
            raise DataError(f"the state has {states.shape[1]} numbers and {width} names; correct 'names' in meta/info.json.")
        return pose(states)

    return convert


def _as_it_stands(states: np.ndarray) -> np.ndarray:
    return states
