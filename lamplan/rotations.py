"""Rotations as unit quaternions [x, y, z, w], real part last as scipy has them: batched, on the device, without a loop over steps.

Angles are in radians. Euler angles are scipy's "xyz", about the fixed axes x, y and z in this order. All functions take NumPy arrays or
tensors with any leading dimensions (...), and gradients are finite everywhere.
"""

from __future__ import annotations

import math

from lamplan.arrays import Array, library

LOCK_RAD = 1e-7
"""So close to a right angle the middle angle is in gimbal lock, by scipy's convention; float32 cannot tell less than 8 of its own steps."""


def from_euler(angles: Array) -> Array:
    """Quaternions (..., 4) of Euler angles (..., 3)."""
    xp = library(angles)
    cos, sin = xp.cos(angles / 2), xp.sin(angles / 2)
    cx, cy, cz = cos[..., 0], cos[..., 1], cos[..., 2]
    sx, sy, sz = sin[..., 0], sin[..., 1], sin[..., 2]
    return xp.stack([sx * cy * cz - cx * sy * sz, cx * sy * cz + sx * cy * sz, cx * cy * sz - sx * sy * cz,
                     cx * cy * cz + sx * sy * sz], -1)


def to_euler(turns: Array) -> Array:
    """Euler angles (..., 3) of quaternions (..., 4) of any length: the middle one within ±pi/2, the others within ±pi. In gimbal lock,
    where only their sum or difference is known, the third angle is 0."""
    # Bernardes and Viollet, "Quaternion to Euler angles conversion", PLOS ONE 17(11), 2022, as scipy: exact up to the lock itself.
    xp = library(turns)
    x, y, z, w = turns[..., 0], turns[..., 1], turns[..., 2], turns[..., 3]
    a, b, c, d = w - y, x + z, w + y, z - x
    middle = 2 * xp.arctan2(_length(c, d), _length(a, b))
    lock = max(LOCK_RAD, 8 * float(xp.finfo(turns.dtype).eps))
    low, high = middle <= lock, middle >= math.pi - lock
    # The angle of a vector of no length has no gradient: it is taken of another, and not used.
    half_sum = xp.arctan2(xp.where(high, 0.0, b), xp.where(high, 1.0, a))
    half_difference = xp.where(low, -half_sum, xp.arctan2(xp.where(low, 0.0, d), xp.where(low, 1.0, c)))
    half_sum = xp.where(high, -half_difference, half_sum)
    return xp.stack([_wrapped(half_sum - half_difference), middle - math.pi / 2, _wrapped(half_sum + half_difference)], -1)


def from_rotvec(vectors: Array) -> Array:
    """Quaternions (..., 4) of rotation vectors (..., 3), the axis times the angle."""
    xp = library(vectors)
    angle = _length(vectors[..., 0:1], vectors[..., 1:2], vectors[..., 2:3])
    return xp.concatenate([vectors * (xp.sin(angle / 2) / angle), xp.cos(angle / 2)], -1)


def to_rotvec(turns: Array) -> Array:
    """Rotation vectors (..., 3), at most pi long, of quaternions (..., 4)."""
    xp = library(turns)
    turns = turns * xp.where(turns[..., 3:] < 0, -1.0, 1.0)  # of both quaternions of a turn, the one that goes the shorter way
    half = _length(turns[..., 0:1], turns[..., 1:2], turns[..., 2:3])
    return turns[..., :3] * (2 * xp.arctan2(half, turns[..., 3:]) / half)


def from_matrix(matrices: Array) -> Array:
    """Quaternions (..., 4) of rotation matrices (..., 3, 3)."""
    xp = library(matrices)
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = ([matrices[..., i, j] for j in range(3)] for i in range(3))
    # 4 q qᵀ: each row is a multiple of the quaternion, and the longest the most exact.
    rows = [[1 + xx - yy - zz, xy + yx, zx + xz, zy - yz], [xy + yx, 1 - xx + yy - zz, yz + zy, xz - zx],
            [zx + xz, yz + zy, 1 - xx - yy + zz, yx - xy], [zy - yz, xz - zx, yx - xy, 1 + xx + yy + zz]]
    longest, most = xp.stack(rows[0], -1), rows[0][0]
    for i in range(1, 4):
        longest = xp.where((rows[i][i] > most)[..., None], xp.stack(rows[i], -1), longest)
        most = xp.maximum(rows[i][i], most)
    return _unit(longest)


def composed(later: Array, earlier: Array) -> Array:
    """The turns (..., 4) of one turn after another, both about the fixed axes."""
    xp = library(later)
    x, y, z, w = later[..., 0], later[..., 1], later[..., 2], later[..., 3]
    i, j, k, r = earlier[..., 0], earlier[..., 1], earlier[..., 2], earlier[..., 3]
    # In pairs that cancel exactly: a turn and the same turn back are no turn at all, to the last digit.
    return xp.stack([(w * i + x * r) + (y * k - z * j), (w * j + y * r) + (z * i - x * k), (w * k + z * r) + (x * j - y * i),
                     w * r - x * i - y * j - z * k], -1)


def between(before: Array, after: Array) -> Array:
    """The turns (..., 4), about the fixed axes, that lead from orientations (..., 4) to others."""
    back = library(before).concatenate([-before[..., :3], before[..., 3:]], -1)
    return composed(after, back)


def running(turns: Array) -> Array:
    """Each of the turns (..., T, 4) after all before it, in log2(T) rounds (Hillis and Steele, 1986)."""
    xp, reach = library(turns), 1
    while reach < turns.shape[-2]:
        # Each entry holds the last `reach` turns up to it, and takes on those before them.
        turns = xp.concatenate([turns[..., :reach, :], composed(turns[..., reach:, :], turns[..., :-reach, :])], -2)
        reach *= 2
    return _unit(turns)  # once is enough: a length that drifts by rounding does not change the turn


def _unit(turns: Array) -> Array:
    return turns / _length(turns[..., 0:1], turns[..., 1:2], turns[..., 2:3], turns[..., 3:4])


def _length(*parts: Array) -> Array:
    """Of vectors given by their parts; never quite 0, so that it can be divided by and has a gradient."""
    xp = library(parts[0])
    return xp.sqrt(sum(part * part for part in parts) + float(xp.finfo(parts[0].dtype).tiny))


def _wrapped(angles: Array) -> Array:
    """Into ±pi."""
    return angles - 2 * math.pi * library(angles).round(angles / (2 * math.pi))
