"""The progress line of a training run: where it is, how fast, how much of that is waiting, and when it will be done."""

from __future__ import annotations

import time
from datetime import timedelta

from tqdm import tqdm


class Progress:
    """One line, kept by the first process. `clip_share` is the share of the device's measured matrix rate that one clip
    per second takes up; None where that is not known."""

    def __init__(self, title: str, steps: int | None, step: int, batch: int, clip_share: float | None, shown: bool) -> None:
        self._bar = tqdm(total=steps, initial=step, desc=title, unit="step", dynamic_ncols=True, mininterval=1.0, disable=not shown)
        self._batch, self._clip_share = batch, clip_share
        self._since, self._steps, self._waited = time.monotonic(), 0, 0.0

    def step(self) -> None:
        self._steps += 1
        self._bar.update()

    def measure(self, waited: float) -> dict[str, float]:
        """Speed since the last call: clips a second, share of the time waiting for data, and MFU. `waited` seconds in all."""
        now = time.monotonic()
        passed = max(now - self._since, 1e-9)
        rate = self._steps * self._batch / passed
        speed = {"clips_per_s": rate, "data_wait": (waited - self._waited) / passed}
        if self._clip_share is not None:
            speed["mfu"] = rate * self._clip_share
        self._since, self._steps, self._waited = now, 0, waited
        return speed

    def show(self, losses: dict[str, float], speed: dict[str, float], left: float) -> None:
        """`left`: seconds until the budget is spent."""
        parts = [f"{name} {value:.4f}" for name, value in losses.items()]
        parts += [f"{speed['clips_per_s']:.1f} clips/s"] + ([f"MFU {speed['mfu']:.0%}"] if "mfu" in speed else [])
        parts += [f"data wait {speed['data_wait']:.0%}", f"ETA {timedelta(seconds=round(left))}"]
        self._bar.set_postfix_str("  ".join(parts), refresh=False)

    def say(self, line: str) -> None:
        if not self._bar.disable:
            self._bar.write(line)

    def close(self) -> None:
        self._bar.close()
