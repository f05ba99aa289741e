"""The files of a LeRobot data set (v3) as they are written: names, columns and descriptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lamplan.robot import RobotSpec

CHUNK = "chunk-{chunk_index:03d}/file-{file_index:03d}"
DATA_PATH = f"data/{CHUNK}.parquet"
EPISODES_PATH = f"meta/episodes/{CHUNK}.parquet"
VIDEO_PATH = "videos/{video_key}/" + CHUNK + ".mp4"
FILES_PER_CHUNK = 1000
STATE_NAMES = {"arm": ["x", "y", "z", "roll", "pitch", "yaw", "gripper"], "mobile": ["x", "y", "yaw"]}
COUNTERS = {"timestamp": "float32", "frame_index": "int64", "episode_index": "int64", "index": "int64", "task_index": "int64"}


def place(number: int) -> dict[str, int]:
    """Chunk and number within it of the n-th file."""
    return {"chunk_index": number // FILES_PER_CHUNK, "file_index": number % FILES_PER_CHUNK}


def plain_features(robot: RobotSpec) -> dict[str, Any]:
    """The description of all columns that are numbers."""
    return {
        "observation.state": {"dtype": "float64", "shape": [robot.state_dim], "names": STATE_NAMES[robot.kind]},
        "action": {"dtype": "float64", "shape": [robot.action_dim], "names": list(robot.names)},
        **{name: {"dtype": dtype, "shape": [1], "names": None} for name, dtype in COUNTERS.items()},
    }


def picture_features(sizes: Mapping[str, Sequence[int]], rate_hz: float) -> dict[str, Any]:
    """The description of the cameras, by name and (height, width)."""
    video = {"video.codec": "h264", "video.pix_fmt": "yuv420p", "video.is_depth_map": False, "video.fps": rate_hz, "video.channels": 3,
             "has_audio": False}
    return {f"observation.images.{key}": {"dtype": "video", "shape": [*size, 3], "names": ["height", "width", "channels"],
                                          "info": {"video.height": size[0], "video.width": size[1], **video}}
            for key, size in sizes.items()}
