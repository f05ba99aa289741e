"""Videos of episodes: what the robot saw, what it was after, and what the model expected: decoded, and as the nearest real frame."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.closed_loop import Encode, Track
from lamplan.report.panels import nearest_frames, side_by_side
from lamplan.video import write_video

FPS = 4.0
SHOWN = 8  # open-loop episodes in one video

Decode = Callable[[np.ndarray], np.ndarray]
"""uint8 images (N, H, W, 3) of features (N, P, D)."""


def film_track(track: Track, encode: Encode, path: Path, title: str, decode: Decode | None = None) -> Path:
    """Observed | goal | predicted at each step of a closed-loop episode.

    A prediction is shown decoded, where there is a decoder, and as the episode's nearest frame.
    """
    expected: dict[str, np.ndarray] = {}
    if track.predicted:
        bank = np.concatenate([np.stack(track.frames), np.stack(track.goals[-1:])])
        expected = _shown(np.stack(track.predicted), bank, encode, decode)

    def picture(step: int, footer: str) -> np.ndarray:
        aim = min(step, len(track.goals) - 1)
        panels = {"observed": track.frames[step], "goal": track.goals[aim]}
        panels |= {name: images[aim] for name, images in expected.items()}
        return side_by_side(panels, footer=f"{title}   {footer}   {track.distance_m[step]:.2f} m to go")

    pictures = [picture(step, f"{step / FPS:.2f} s") for step in range(len(track.goals))]
    pictures += [picture(len(track.goals), "end")] * round(FPS)
    write_video(path, np.stack(pictures), FPS)
    return path


def film_windows(frames: np.ndarray, predicted: np.ndarray, encode: Encode, path: Path, title: str,
                 decode: Decode | None = None) -> Path:
    """Start | goal | predicted end of open-loop plans, one picture a second.

    frames (N, H+1, H', W', 3) are the true windows, predicted (N, P, D) the plans' last imagined features. A prediction is shown
    decoded, where there is a decoder, and as the nearest frame of any shown window.
    """
    frames, predicted = frames[:SHOWN], predicted[:SHOWN]
    expected = _shown(predicted, frames.reshape(-1, *frames.shape[2:]), encode, decode)
    pictures = [side_by_side({"start": window[0], "goal": window[-1], **{name: images[i] for name, images in expected.items()}},
                             footer=f"{title}, episode {i}") for i, window in enumerate(frames)]
    write_video(path, np.stack(pictures), 1.0)
    return path


def _shown(predicted: np.ndarray, bank: np.ndarray, encode: Encode, decode: Decode | None) -> dict[str, np.ndarray]:
    """Pictures (N, H, W, 3) of predicted features (N, P, D) by their captions; the nearest frames come from the bank (M, H, W, 3)."""
    nearest = {"predicted (nearest frame)": bank[nearest_frames(predicted, encode(bank))]}
    return nearest if decode is None else {"predicted": decode(predicted), **nearest}
