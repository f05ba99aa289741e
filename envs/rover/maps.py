"""A map of free space and shortest paths on it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.ndimage import map_coordinates
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import dijkstra

from envs.rover.layout import ARENA_M, Layout

CELL_M = 0.2


class ObstacleMap:
    """Distance from every place inside the fence to the nearest obstacle."""

    def __init__(self, layout: Layout) -> None:
        self._axis = np.arange(-ARENA_M + CELL_M / 2, ARENA_M, CELL_M)
        x, y = np.meshgrid(self._axis, self._axis, indexing="ij")
        clearance = ARENA_M - 0.12 - np.maximum(np.abs(x), np.abs(y))
        for thing in layout.things:
            if thing.round:
                distance = np.hypot(x - thing.x, y - thing.y) - thing.half[0]
            else:
                cos, sin = np.cos(thing.yaw), np.sin(thing.yaw)
                u = np.abs(cos * (x - thing.x) + sin * (y - thing.y)) - thing.half[0]
                v = np.abs(-sin * (x - thing.x) + cos * (y - thing.y)) - thing.half[1]
                distance = np.hypot(np.maximum(u, 0), np.maximum(v, 0)) + np.minimum(np.maximum(u, v), 0)
            np.minimum(clearance, distance, out=clearance)
        self._clearance = clearance

    def clearance(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Metres from places (x, y), of any equal shape, to the nearest obstacle (negative inside one, -1 outside the fence)."""
        cells = [(np.asarray(v) + ARENA_M) / CELL_M - 0.5 for v in (x, y)]
        return map_coordinates(self._clearance, cells, order=1, mode="constant", cval=-1.0)

    def free_place(self, rng: np.random.Generator, clearance_m: float) -> tuple[float, float]:
        """A random place at least `clearance_m` from every obstacle, or the most open one if there is none."""
        wanted = min(clearance_m, float(self._clearance.max()))
        cell = rng.choice(np.flatnonzero(self._clearance >= wanted))
        i, j = np.unravel_index(cell, self._clearance.shape)
        return float(self._axis[i]), float(self._axis[j])

    def paths_from(self, start: tuple[float, float], clearance_m: float) -> Paths:
        """Shortest ways from `start` through places that lie `clearance_m` or more from every obstacle."""
        return Paths(self, self._axis, self._clearance >= clearance_m, start, clearance_m)


class Paths:
    """All shortest ways from one place over the grid (eight neighbours), straightened where the view is free."""

    def __init__(self, free_map: ObstacleMap, axis: np.ndarray, free: np.ndarray, start: tuple[float, float], clearance_m: float) -> None:
        self._map, self._axis, self._start, self._clearance_m = free_map, axis, start, clearance_m
        n = len(axis)
        i, j = (min(int((v + ARENA_M) / CELL_M), n - 1) for v in start)
        source = i * n + j
        lengths, self._before = dijkstra(_graph(free), directed=False, indices=source, return_predecessors=True)
        self._lengths = lengths.reshape(n, n)

    def place(self, rng: np.random.Generator, shortest_m: float, longest_m: float) -> tuple[float, float] | None:
        """A random place whose way is between the two lengths, None if there is none."""
        cells = np.flatnonzero((self._lengths >= shortest_m) & (self._lengths <= longest_m))
        if not len(cells):
            return None
        i, j = np.unravel_index(rng.choice(cells), self._lengths.shape)
        return float(self._axis[i]), float(self._axis[j])

    def way(self, goal: tuple[float, float]) -> np.ndarray | None:
        """Corner points (K, 2) in m from start to goal, None if the goal cannot be reached."""
        n = len(self._axis)
        i, j = (min(max(int((v + ARENA_M) / CELL_M), 0), n - 1) for v in goal)
        if not np.isfinite(self._lengths[i, j]):
            return None
        cells, cell = [], i * n + j
        while cell >= 0:
            cells.append(cell)
            cell = self._before[cell]
        points = np.stack([self._axis[np.array(cells[::-1]) // n], self._axis[np.array(cells[::-1]) % n]], axis=1)
        points[0], points[-1] = self._start, goal
        return self._straighten(points)

    def _straighten(self, points: np.ndarray) -> np.ndarray:
        kept = [points[0]]
        for here, after in pairwise(points[1:]):
            if not self._visible(kept[-1], after):
                kept.append(here)
        if len(points) > 1:
            kept.append(points[-1])
        return np.array(kept)

    def _visible(self, a: np.ndarray, b: np.ndarray) -> bool:
        part = np.linspace(0.0, 1.0, int(np.hypot(*(b - a)) / (CELL_M / 2)) + 2)[:, None]
        line = a + part * (b - a)
        return bool((self._map.clearance(line[:, 0], line[:, 1]) >= self._clearance_m).all())


def path_length(points: np.ndarray) -> float:
    """Length in m of the line through points (K, 2)."""
    return float(np.hypot(*np.diff(points, axis=0).T).sum())


def _graph(free: np.ndarray) -> csr_matrix:
    """Edges between free neighbours of a grid (n, n), weighted by metres; each pair once."""
    n = len(free)
    node = np.arange(n * n).reshape(n, n)
    tails, heads, weights = [], [], []
    for di, dj in ((1, 0), (0, 1), (1, 1), (1, -1)):
        a = np.s_[: n - di, max(0, -dj): n - max(0, dj)]
        b = np.s_[di:, max(0, dj): n - max(0, -dj)]
        both = free[a] & free[b]
        tails.append(node[a][both])
        heads.append(node[b][both])
        weights.append(np.full(int(both.sum()), CELL_M * np.hypot(di, dj)))
    return coo_matrix((np.concatenate(weights), (np.concatenate(tails), np.concatenate(heads))), shape=(n * n, n * n)).tocsr()
