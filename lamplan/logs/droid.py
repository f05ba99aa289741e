"""Raw DROID episodes: folders with `trajectory.h5`, `recordings/MP4/<serial>.mp4` and `metadata_*.json`.

The rate comes from the control loop's clock in `trajectory.h5`. The MP4s say 60 Hz, which is the cameras' setting; there is one
frame per step of a 15 Hz loop.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from lamplan.errors import DataError
from lamplan.logs.clock import rate_of
from lamplan.logs.episode import Episode
from lamplan.logs.film import header_hz, read_frames
from lamplan.logs.folders import a_few, episodes_at
from lamplan.logs.hdf5 import column, group_at, numbers, open_hdf5
from lamplan.motion import arm_motion

NAME = "raw DROID (an episode's folder with trajectory.h5 and recordings/MP4, or a folder of such folders)"
TRAJECTORY = "trajectory.h5"
CONTROL_HZ = 15.0  # what the loop aims at: by its clock it runs at 13.7 to 14.6 Hz
BEGINS = "robot_state"  # within the group of commands: where the robot was when each was given
EXTRINSICS = "observation/camera_extrinsics"
ROLES = {"ext1": "exterior_1_left", "ext2": "exterior_2_left", "wrist": "wrist_left"}
MAX_METADATA_BYTES = 2**22


def recognises(path: Path) -> bool:
    """By the name `trajectory.h5`, of the file or somewhere below the folder."""
    return path.name == TRAJECTORY if path.is_file() else bool(a_few(path, TRAJECTORY))


def read(path: Path) -> Sequence[Episode]:
    """All episodes below a folder, in the order of their paths, each opened when it is asked for."""
    return episodes_at(path, TRAJECTORY, "droid", _episode)


def _episode(path: Path) -> Episode:
    """States are measured poses in the base frame; actions are the commanded motions (see `_motions`), where they were recorded."""
    where = str(path)
    with open_hdf5(path) as file:
        states = poses_in(group_at(file, "observation/robot_state", where), "observation/robot_state", where)
        wanted, begins = _poses_where_kept(file, "action", where), _poses_where_kept(file, f"action/{BEGINS}", where)
        clock = group_at(file, "observation/timestamp/control", where)
        stamps_ms = None if clock is None else column(clock, "step_start", where)
    for key, values in {"action": wanted, f"action/{BEGINS}": begins, "observation/timestamp/control/step_start": stamps_ms}.items():
        if values is not None and len(values) != len(states):
            raise DataError(f"{where}: '{key}' has {len(values)} steps, the robot's states {len(states)}; there must be one per step.")
    times_s = None if stamps_ms is None else (stamps_ms - stamps_ms[0]) / 1000
    rate_hz = CONTROL_HZ if times_s is None or len(times_s) < 2 else rate_of(times_s, where)
    films = _films(path.parent, where)
    return Episode(states, None if wanted is None else _motions(states, wanted, begins), rate_hz, tuple(films), where,
                   partial(_frames, films, len(states)), "panda", times_s, video_hz=partial(_video_hz, films),
                   axes=partial(_axes, path, films))


def _motions(states: np.ndarray, wanted: np.ndarray, begins: np.ndarray | None) -> np.ndarray:
    """Actions (T, 7) from the poses (T, 7) that were wanted, and those read as they were told, where these are kept.

    A step of DROID's loop observes, sleeps until 1/15 s are over and only then commands (droid-dataset/droid, ba46d4a:
    trajectory_utils/misc.py), relative to the pose that it reads at that moment (franka/robot.py, `create_action_dict`). So the command
    kept at step t is carried out between t + 1 and t + 2, and begins where the next step finds the robot. What led from the first step
    on, no file tells: it counts as no motion.
    """
    actions = np.zeros_like(states)
    actions[1:] = arm_motion(states[1:] if begins is None else begins[:-1], wanted[:-1])
    return actions


def _poses_where_kept(file: Any, key: str, where: str) -> np.ndarray | None:
    group = group_at(file, key, where)
    return poses_in(group, key, where) if group is not None and {"cartesian_position", "gripper_position"} <= set(group) else None


def poses_in(group: Any, key: str, where: str) -> np.ndarray:
    """(T, 7) of a group: xyz, Euler angles, gripper (0 open, 1 closed), as DROID and `RobotSpec` both define them."""
    pose = None if group is None else numbers(group, "cartesian_position", where)
    gripper = None if group is None else column(group, "gripper_position", where)
    if pose is None or gripper is None:
        raise DataError(f"{where} has no '{key}/cartesian_position' (T, 6) with '{key}/gripper_position' (T,), as DROID's have.")
    if pose.shape != (len(gripper), 6):
        raise DataError(f"{where}: '{key}' must have poses (T, 6) and one gripper position each, found {pose.shape} and {gripper.shape}.")
    return np.concatenate([pose, gripper[:, None]], axis=1)


def _films(folder: Path, where: str) -> dict[str, Path]:
    """Camera names and their videos: by role where the metadata give it, else by serial number. Stereo pairs are left out."""
    try:
        found = {path.stem: path for path in (folder / "recordings" / "MP4").iterdir() if path.suffix == ".mp4"}
    except OSError:
        found = {}
    films = {name: found.pop(serial) for name, serial in _serials(folder).items() if serial in found}
    films |= {serial: found[serial] for serial in sorted(found) if re.fullmatch(r"\d+", serial)}
    if not films:
        raise DataError(f"{where}: no videos at {folder / 'recordings' / 'MP4'} (<serial>.mp4). "
                        "SVO recordings must be exported to MP4 first, with the ZED tools or DROID's scripts/convert/svo_to_mp4.py.")
    return films


def _serials(folder: Path) -> dict[str, str]:
    """Camera names and serial numbers by the episode's metadata; empty where there are none."""
    for path in sorted(folder.glob("*.json"), key=lambda path: (not path.name.startswith("metadata"), path.name)):
        try:
            if path.stat().st_size > MAX_METADATA_BYTES:
                raise ValueError("it is too large")
            table = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"{path} cannot be read as JSON ({error}), so the cameras have no roles; copy it anew or remove it.") from None
        if isinstance(table, dict) and (roles := {name: serial for role, name in ROLES.items() if (serial := _serial(table, role))}):
            return roles
    return {}


def _serial(table: dict[str, Any], role: str) -> str | None:
    """The serial number itself, or the one in the video's path. Only the name counts, never the folder that the path claims."""
    serial = table.get(f"{role}_cam_serial")
    if serial is None and isinstance(video := table.get(f"{role}_mp4_path"), str):
        serial = video.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".mp4")
    return str(serial) if isinstance(serial, int | str) and serial != "" else None


def _video_hz(films: dict[str, Path]) -> dict[str, float]:
    return {camera: header_hz(path) for camera, path in films.items()}


def _axes(path: Path, films: dict[str, Path], camera: str) -> np.ndarray | None:
    """By the calibration that DROID keeps for every step: the camera's pose in the base frame, as the robot's."""
    if camera not in films:
        return None
    where, name = str(path), f"{films[camera].stem}_left"
    with open_hdf5(path) as file:
        group = group_at(file, EXTRINSICS, where)
        poses = None if group is None else numbers(group, name, where)
    if poses is None:
        return None
    if poses.shape[1] != 6:
        raise DataError(f"{where}: '{EXTRINSICS}/{name}' must hold poses (T, 6), xyz and Euler angles; found {poses.shape}.")
    return Rotation.from_euler("xyz", poses[:, 3:]).as_matrix()


def _frames(films: dict[str, Path], count: int, camera: str, steps: np.ndarray) -> np.ndarray:
    return read_frames(films[camera], steps, count)
