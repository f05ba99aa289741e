"""Synthetic LeRobot data sets (v2.1, v3) in the exact layouts, made without the code under test, of known values."""

import io
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

FPS = 10
LENGTHS = (5, 8, 6)
NAMES = ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]
SIZE = (16, 24)
DATA3, VIDEO3 = "chunk-{chunk_index:03d}/file-{file_index:03d}.parquet", "{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"


def states(episode: int, length: int) -> np.ndarray:
    """(T, 7) float32: every number tells its episode, step and axis, and is exact in float32."""
    return (episode + np.arange(length)[:, None] / 64 + np.arange(7) / 8).astype(np.float32)


def actions(episode: int, length: int) -> np.ndarray:
    return -states(episode, length)


def grey(episode: int, length: int) -> np.ndarray:
    """(T,) brightness of the pictures: far enough apart to be told after H.264."""
    return 20 + 70 * (episode % 3) + 8 * np.arange(length)


def pictures(episode: int, length: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.broadcast_to(grey(episode, length)[:, None, None, None], (length, *size, 3)).astype(np.uint8)


def write_mp4(path: Path, images: np.ndarray, fps: float = FPS, **options: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000), options={"crf": "18", **options})
        stream.height, stream.width, stream.pix_fmt = *images.shape[1:3], "yuv420p"
        stream.codec_context.thread_count = 1
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        container.mux(stream.encode(None))


def encoded(image: np.ndarray, form: str = "PNG") -> bytes:
    target = io.BytesIO()
    Image.fromarray(image).save(target, form)
    return target.getvalue()


def lerobot_info(version: str, **changes: Any) -> dict[str, Any]:
    picture = {"shape": [*SIZE, 3], "names": ["height", "width", "channels"]}
    features = {
        "observation.state": {"dtype": "float32", "shape": [7], "names": {"motors": NAMES}},
        "action": {"dtype": "float32", "shape": [7], "names": None},
        "observation.images.front": {"dtype": "video", **picture, "info": {"video.fps": 60.0, "video.codec": "h264"}},
        "observation.images.still": {"dtype": "image", **picture},
        "observation.images.depth": {"dtype": "video", **picture, "info": {"video.is_depth_map": True}},
        **{name: {"dtype": "int64", "shape": [1], "names": None} for name in ("frame_index", "episode_index", "index", "task_index")},
        "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    }
    old = {"data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
           "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"}
    paths = old if version.startswith("v2") else {"data_path": f"data/{DATA3}", "video_path": f"videos/{VIDEO3}"}
    return {"codebase_version": version, "robot_type": "testarm", "total_episodes": len(LENGTHS), "total_frames": sum(LENGTHS),
            "chunks_size": 1000, "fps": FPS, "splits": {"train": f"0:{len(LENGTHS)}"}, **paths, "features": features, **changes}


def rows(episode: int, length: int) -> pa.Table:
    """The data rows of an episode as LeRobot writes them: float32 lists, images as {bytes, path}."""
    steps = np.arange(length)
    listed = {"observation.state": states(episode, length), "action": actions(episode, length)}
    stills = [{"bytes": encoded(image), "path": f"frame_{step}.png"} for step, image in enumerate(pictures(episode, length))]
    return pa.table({
        **{key: pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), 7) for key, values in listed.items()},
        "observation.images.still": pa.array(stills, pa.struct({"bytes": pa.binary(), "path": pa.string()})),
        "timestamp": pa.array((steps / FPS).astype(np.float32)), "frame_index": steps, "episode_index": np.full(length, episode),
        "index": steps + sum(LENGTHS[:episode]), "task_index": np.zeros(length, np.int64),
    })


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def write_table(path: Path, table: pa.Table, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **options)


def write_lerobot2(root: Path, **changes: Any) -> Path:
    """v2.1: one Parquet file and one video per episode."""
    write_json(root / "meta/info.json", lerobot_info("v2.1", **changes))
    lines = [json.dumps({"episode_index": episode, "tasks": ["push"], "length": length}) for episode, length in enumerate(LENGTHS)]
    (root / "meta/episodes.jsonl").write_text("\n".join(lines) + "\n")
    for episode, length in enumerate(LENGTHS):
        write_table(root / f"data/chunk-000/episode_{episode:06d}.parquet", rows(episode, length))
        write_mp4(root / f"videos/chunk-000/observation.images.front/episode_{episode:06d}.mp4", pictures(episode, length))
    return root


def write_lerobot3(root: Path, row_group_size: int = 1000, **changes: Any) -> Path:
    """v3: all episodes in one Parquet file and one video."""
    write_json(root / "meta/info.json", lerobot_info("v3.0", **changes))
    ends = np.cumsum(LENGTHS)
    begins = ends - LENGTHS
    video = "videos/observation.images.front"
    zeros = np.zeros(len(LENGTHS), np.int64)
    write_table(root / "meta/episodes/chunk-000/file-000.parquet", pa.table({
        "episode_index": np.arange(len(LENGTHS)), "length": np.array(LENGTHS), "tasks": [["push"]] * len(LENGTHS),
        "data/chunk_index": zeros, "data/file_index": zeros, "dataset_from_index": begins, "dataset_to_index": ends,
        f"{video}/chunk_index": zeros, f"{video}/file_index": zeros, f"{video}/from_timestamp": begins / FPS,
        f"{video}/to_timestamp": ends / FPS,
    }))
    write_table(root / "data/chunk-000/file-000.parquet", pa.concat_tables([rows(*item) for item in enumerate(LENGTHS)]),
                row_group_size=row_group_size)
    write_mp4(root / f"{video}/chunk-000/file-000.mp4", np.concatenate([pictures(*item) for item in enumerate(LENGTHS)]))
    return root
