"""Videos of episodes: what the robot saw, what it was after, and what the model expected, as the nearest real frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.closed_loop import Encode, Track
from lamplan.report.panels import nearest_frames, side_by_side
from lamplan.video import write_video

FPS = 4.0
SHOWN = 8  # open-loop episodes in one video


def film_track(track: Track, encode: Encode, path: Path, title: str) -> Path:
    """Observed | goal | predicted at each step of a closed-loop episode; a prediction is shown as the episode's nearest frame."""
    expected = None
    if track.predicted:
        bank = np.concatenate([np.stack(track.frames), np.stack(track.goals[-1:])])
        expected = bank[nearest_frames(np.stack(track.predicted), encode(bank))]

    def picture(step: int, footer: str) -> np.ndarray:
        aim = min(step, len(track.goals) - 1)
        panels = {"observed": track.frames[step], "goal": track.goals[aim]}
        if expected is not None:
            panels["predicted (nearest frame)"] = expected[aim]
        return side_by_side(panels, footer=f"{title}   {footer}   {track.distance_m[step]:.2f} m to go")

    pictures = [picture(step, f"{step / FPS:.2f} s") for step in range(len(track.goals))]
    pictures += [picture(len(track.goals), "end")] * round(FPS)
    write_video(path, np.stack(pictures), FPS)
    return path


def film_windows(frames: np.ndarray, predicted: np.ndarray, encode: Encode, path: Path, title: str) -> Path:
    """Start | goal | predicted end of open-loop plans, one picture a second.

    frames (N, H+1, H', W', 3) are the true windows, predicted (N, P, D) the plans' last imagined features. A prediction is shown
    as the nearest frame of any shown window.
    """
    frames, predicted = frames[:SHOWN], predicted[:SHOWN]
    bank = frames.reshape(-1, *frames.shape[2:])
    expected = bank[nearest_frames(predicted, encode(bank))]
    pictures = [side_by_side({"start": window[0], "goal": window[-1], "predicted (nearest frame)": found}, footer=f"{title}, episode {i}")
                for i, (window, found) in enumerate(zip(frames, expected, strict=True))]
    write_video(path, np.stack(pictures), 1.0)
    return path
