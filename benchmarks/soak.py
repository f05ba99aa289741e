"""Thousands of plans in a row: do memory or latency grow? Part of `benchmarks.latency`."""

from __future__ import annotations

import csv
import os
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.run import Run
from lamplan.notes import settle_note
from lamplan.planner import Planner

FILE_NAME = "soak.csv"
SETTLED = 50
"""Plans after which a process has what it keeps; growth is measured from there."""


def soak(planner: Planner, images: np.ndarray, plans: int, run: Run, made_with: dict[str, str]) -> None:
    """Plans between two images (2, H, W, 3) until `plans` are done, and adds the rows of the first and the last tenth.

    Every plan is a line of `soak.csv` (process, seconds, processor seconds, resident MiB), where a later process goes on, if it is of the
    same run and the planner was `made_with` the same. Growth is the slope of resident memory within each process, from when it has settled.
    """
    path = run.out / FILE_NAME
    of = {"commit": run.results.commit, "device": run.results.device, "seed": run.seed} | run.results.budget | made_with
    lines = read(path)
    noted = {name: str(value) for name, value in of.items()}
    settle_note(path.with_suffix(".json"), noted, len(lines) > 0, f"the plans in {path} are", "file")
    process = int(lines[-1, 0]) + 1 if len(lines) else 0
    planner.warmup(image=images[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="", encoding="utf-8", buffering=1) as file:
        writer = csv.writer(file)
        for i in tqdm(range(len(lines), plans), desc="soak", mininterval=5):
            begun, worked = time.perf_counter(), time.process_time()
            planner.plan(images[i % 2], images[1 - i % 2], seed=i)
            writer.writerow([process, f"{time.perf_counter() - begun:.6f}", f"{time.process_time() - worked:.6f}", f"{resident_mib():.3f}"])
    add_rows(read(path)[:plans], run)


def read(path: Path) -> np.ndarray:
    """The lines (M, 4) so far; a last line that a kill cut short is dropped from the file as well."""
    if not path.is_file():
        return np.empty((0, 4))
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    return np.array([[float(part) for part in line.split(",")] for line in whole.splitlines()]).reshape(-1, 4)


def add_rows(lines: np.ndarray, run: Run) -> None:
    plans = len(lines)
    tenth, task = max(1, plans // 10), f"{plans} plans in a row"
    for name, part in (("first tenth", lines[:tenth]), ("last tenth", lines[-tenth:])):
        run.results.add(name, task, "plan_time", "s", part[:, 1])
        run.results.add(name, task, "processor_time", "s", part[:, 2])
        run.results.add(name, task, "resident_memory", "MiB", part[:, 3])
    run.results.add("growth", task, "memory_slope", "MiB per 1000 plans", np.array([memory_slope(lines)]))
    run.keep()


def memory_slope(lines: np.ndarray) -> float:
    """MiB per 1000 plans, least squares over all processes, each with its own level; 0 where none lived long enough to tell."""
    place, level = [], []
    for process in np.unique(lines[:, 0]):
        memory = lines[lines[:, 0] == process, 3][SETTLED:]
        if len(memory) > 1:
            at = np.arange(len(memory)) / 1000
            place.append(at - at.mean())
            level.append(memory - memory.mean())
    if not place:
        return 0.0
    x, y = np.concatenate(place), np.concatenate(level)
    return float(x @ y / (x @ x))


def resident_mib() -> float:
    """Memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
