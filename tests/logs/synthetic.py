"""Synthetic logs in the exact layouts of DROID, the Franka set and RECON. Nothing in them was recorded by a robot."""

import io
import json
import pickle
from fractions import Fraction
from pathlib import Path

import av
import h5py
import numpy as np
from PIL import Image

STEPS = 30
SERIALS = {"ext1": "20521388", "ext2": "24259877", "wrist": "13062452"}


def grey(step: int, camera: int = 0) -> int:
    """The brightness of a camera's picture at a step: codecs keep it to two levels."""
    return 20 + 6 * step + 15 * camera


def pictures(camera: int = 0, steps: int = STEPS, height: int = 32, width: int = 48) -> np.ndarray:
    levels = np.array([grey(step, camera) for step in range(steps)], np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (steps, height, width, 3))


def film(path: Path, frames: np.ndarray, fps: int = 60, codec: str = "mpeg4", **options: str) -> Path:
    """A video as OpenCV writes them for DROID: MPEG-4, and the rate of the camera's setting in its header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(fps), options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.bit_rate = 4_000_000
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.thread_count = 1
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        container.mux(stream.encode(None))
    return path


def arm_states(steps: int = STEPS) -> np.ndarray:
    """(T, 7) of an arm that moves and turns a little at every step."""
    t = np.arange(steps)
    return np.stack([0.4 + 0.01 * t, -0.1 + 0.005 * t, 0.3 - 0.004 * t, 3.0 + 0.01 * t, 0.02 * t, -1.0 + 0.03 * t, t / steps], axis=1)


# [x, y, z (m), Euler xyz (rad)] of the left lenses in the base frame, by role; the wrist's turns with the hand.
CAMERA_POSES = {"ext1": (0.3, 0.5, 0.4, -2.0, 0.1, -2.2), "ext2": (0.2, -0.6, 0.5, -1.9, 0.0, -0.7), "wrist": (0.0,) * 6}


def told_at(states: np.ndarray) -> np.ndarray:
    """(T, 7): where DROID's loop finds a robot when it gives each step's command, a whole step after it has observed."""
    return np.concatenate([states[1:], 2 * states[-1:] - states[-2:-1]])


def stamps_ms(steps: int = STEPS, rate_hz: float = 15.0) -> np.ndarray:
    """Unix milliseconds of the control loop, rounded as DROID rounds them."""
    return np.round(1.6e12 + np.arange(steps) * 1000 / rate_hz).astype(np.int64)


def droid(folder: Path, steps: int = STEPS, metadata: bool = True, stamps: np.ndarray | None = None, fps: int = 60) -> Path:
    """One raw DROID episode."""
    folder.mkdir(parents=True, exist_ok=True)
    states = arm_states(steps)
    with h5py.File(folder / "trajectory.h5", "w") as file:
        file["observation/robot_state/cartesian_position"] = states[:, :6]
        file["observation/robot_state/gripper_position"] = states[:, 6]
        file["observation/robot_state/joint_positions"] = np.zeros((steps, 7))
        told = told_at(states)
        file["action/robot_state/cartesian_position"], file["action/robot_state/gripper_position"] = told[:, :6], told[:, 6]
        file["action/cartesian_position"] = told[:, :6] + [0.02, 0, 0, 0, 0, 0]
        file["action/gripper_position"] = told[:, 6]
        file["observation/timestamp/control/step_start"] = stamps_ms(steps) if stamps is None else stamps
        file["observation/timestamp/skip_action"] = np.zeros(steps, bool)
        for role, serial in SERIALS.items():
            poses = np.tile(CAMERA_POSES[role], (steps, 1))
            file[f"observation/camera_extrinsics/{serial}_left"] = poses + (states[:, :6] if role == "wrist" else 0)
    for number, serial in enumerate(SERIALS.values()):
        film(folder / "recordings" / "MP4" / f"{serial}.mp4", pictures(number, steps), fps)
    (folder / "recordings" / "MP4" / f"{SERIALS['ext1']}-stereo.mp4").write_bytes(b"side by side: no camera of its own")
    if metadata:
        table = {"uuid": "synthetic", "trajectory_length": steps} | {f"{role}_cam_serial": serial for role, serial in SERIALS.items()}
        (folder / "metadata_synthetic.json").write_text(json.dumps(table))
    return folder


def franka(folder: Path, steps: int = STEPS) -> Path:
    """One episode of the Franka set of JEPA-WMs."""
    folder.mkdir(parents=True, exist_ok=True)
    states = arm_states(steps)
    with h5py.File(folder / "episode.h5", "w") as file:
        seen = file.create_group("episode_data/observation")
        seen["cartesian_position"], seen["gripper_position"] = states[:, :6], states[:, 6]
        for number, camera in enumerate(("exterior_image_1_left", "exterior_image_2_left")):
            seen.create_dataset(camera, data=pictures(number, steps, 12, 16), chunks=(1, 12, 16, 3), compression="gzip")
    return folder


def jpeg(image: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(image).save(content, "JPEG", quality=95)
    return content.getvalue()


def rover_states(steps: int = STEPS) -> np.ndarray:
    """(T, 3) of a robot on a curve."""
    t = np.arange(steps)
    return np.stack([0.2 * t, 0.01 * t**2, 0.05 * t], axis=1)


def recon(path: Path, steps: int = STEPS, store: str = "S") -> Path:
    """One RECON trajectory, its JPEGs as strings of fixed length (S), as published, or as opaque bytes (V)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = [jpeg(image) for image in pictures(0, steps)]
    longest, states = max(map(len, encoded)), rover_states(steps)
    with h5py.File(path, "w") as file:
        file["images/rgb_left"] = np.array(encoded, f"{store}{longest}")
        file["images/thermal"] = np.zeros((steps, 32, 32))
        file["jackal/position"] = np.concatenate([states[:, :2], np.zeros((steps, 1))], axis=1)
        file["jackal/yaw"] = states[:, 2]
        file["commands/linear_velocity"] = np.full((steps, 1), 0.8)
        file["commands/angular_velocity"] = np.full((steps, 1), 0.2)
        file["collision/any"] = np.zeros(steps, bool)
    return path


def recon_pictures(folder: Path, steps: int = STEPS, protocol: int = 4) -> Path:
    """One RECON trajectory as pictures and a pickle."""
    folder.mkdir(parents=True, exist_ok=True)
    states = rover_states(steps)
    for step, image in enumerate(pictures(0, steps)):
        (folder / f"{step}.jpg").write_bytes(jpeg(image))
    table = {"position": states[:, :2].astype(np.float32), "yaw": states[:, 2].astype(np.float32)}
    (folder / "traj_data.pkl").write_bytes(pickle.dumps(table, protocol=protocol))
    return folder


def start_goal(path: Path, rows: int = 2) -> Path:
    """Starts and goals as V-JEPA 2 publishes one."""
    images = np.broadcast_to(pictures(0, 2), (rows, 2, 32, 48, 3))
    np.savez_compressed(path, observations=images, states=np.broadcast_to(arm_states(2).astype(np.float32), (rows, 2, 7)))
    return path
