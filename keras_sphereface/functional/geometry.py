"""Where the classes of softmax, modified softmax and A-Softmax lie, and how large m must be.

Angles are in radians; class weights are columns, (D, C), as in the heads. A class leads where its
own logit, with the margin, is above those of all others: there its condition of the paper's
table 1 holds. Points where no class leads lie in the margin.

Reference: Liu et al., "SphereFace", CVPR 2017, sections 3.2 to 3.4.
"""

from typing import NamedTuple, TypeVar

import numpy as np

SCAN_STEPS = 36  # of five degrees, to find an end of an arc
BISECTIONS = 40  # of such a step, or of a few units of m: to 1e-11

Angles = TypeVar("Angles", float, np.ndarray)


class Spread(NamedTuple):
    """How wide classes are, and how far they are from one another."""

    largest_intra: float  # angle between two points of one class, in [0, pi]
    smallest_inter: float  # angle between points of two classes, in [0, pi]


def psi(theta: np.ndarray, m: float) -> np.ndarray:
    """(-1)^k cos(m theta) - 2k with k = floor(m theta / pi), by the definition (equation 7).

    Unlike `angular.psi`, which is a polynomial of the cosine, it takes any real m >= 1: the
    bounds of m are no whole numbers. Without a jump it falls from 1 at theta = 0 and never rises.

    Raises:
        ValueError: if `m` is below 1.
    """
    if not m >= 1:
        raise ValueError(f"`m` must be a number >= 1. Received: m={m}")
    k = np.floor(m * np.asarray(theta) / np.pi)
    return (1 - 2 * (k % 2)) * np.cos(m * np.asarray(theta)) - 2 * k


def angular_margin(theta_12: Angles, m: float) -> Angles:
    """(m - 1) / (m + 1) theta_12: the angle between the boundaries of two classes.

    Each boundary is theta_12 / (m + 1) from the weight of its class.
    """
    return (m - 1) / (m + 1) * theta_12


def two_class_bound(theta_12: float) -> float:
    """The m from which two classes, theta_12 apart, are narrower than they are apart.

    Towards the other class a class ends theta_12 / (m + 1) from its weight. On its far side it
    ends theta_12 / (m - 1) away, which gives 2 + sqrt(3), as in the paper; but where the weights
    are more than (sqrt(3) - 1) pi apart, it ends earlier, as the other class is nearer by the
    other way round: at (2 pi - theta_12) / (m + 1), which gives 1 + 2 pi / theta_12.
    """
    return min(2 + np.sqrt(3), 1 + 2 * np.pi / theta_12)


def softmax_leads(points: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """By how much each class of plain softmax leads: x.w_i + b_i less the highest of the others.

    Args:
        points: (..., D).
        kernel: class weights of any length, (D, C).
        bias: (C,).

    Returns:
        (..., C): above 0 where the class is chosen.
    """
    logits = points @ kernel + bias
    return logits - _highest_of_others(logits)


def angular_leads(points: np.ndarray, kernel: np.ndarray, m: float) -> np.ndarray:
    """By how much each class of A-Softmax leads: psi(theta_i) less the highest other cosine.

    m = 1 is the modified softmax. The norms of points and weights have no part in it.

    Args:
        points: (..., D).
        kernel: class weights, (D, C), none of them 0.
        m: the margin, a number >= 1.

    Returns:
        (..., C): above 0 where the condition of the class holds, for one class at most.
    """
    lengths = np.linalg.norm(points, axis=-1, keepdims=True)
    unit = points / np.where(lengths > 0, lengths, 1.0)
    cosines = np.clip(unit @ (kernel / np.linalg.norm(kernel, axis=0)), -1.0, 1.0)
    return psi(np.arccos(cosines), m) - _highest_of_others(cosines)


def _highest_of_others(values):
    """For each of (..., C) the highest of the C - 1 others."""
    second, first = np.moveaxis(np.partition(values, -2, axis=-1)[..., -2:], -1, 0)
    return np.where(values == first[..., None], second[..., None], first[..., None])


def leading_class(leads: np.ndarray) -> np.ndarray:
    """(..., C) to (...,): the class that leads, or -1 in the margin."""
    return np.where(leads.max(axis=-1) > 0, leads.argmax(axis=-1), -1)


def on_circle(angles: np.ndarray) -> np.ndarray:
    """Unit vectors (..., 2) in the directions (...,)."""
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def front_hemisphere(size: int) -> np.ndarray:
    """Points of the unit sphere as seen from far along its third axis, (size, size, 3).

    Rows go up and columns right from -1 to 1. Outside the disc stand the points of its rim.
    """
    line = np.linspace(-1.0, 1.0, size)
    x, y = np.meshgrid(line, line)
    radius = np.hypot(x, y)
    beyond = np.maximum(radius, 1.0)
    z = np.sqrt(np.maximum(1.0 - radius**2, 0.0))
    return np.stack([x / beyond, y / beyond, z], axis=-1)


def class_arcs(directions: np.ndarray, m: float) -> np.ndarray:
    """The arc of the circle on which each class leads, found without a formula for its ends.

    From the class weight outwards, on both sides, the lead of the class is looked at in steps of
    five degrees, and bisected where it is lost.

    Args:
        directions: (C,) angles of the class weights, C >= 2, all different.
        m: the margin, a number >= 1.

    Returns:
        (C, 2): begin and end, begin < direction < end, up to pi away from it.

    Raises:
        ValueError: if there are not two directions, or two are the same.
    """
    directions = np.asarray(directions, dtype=float)
    kernel = on_circle(directions).T
    if directions.ndim != 1 or len(np.unique(directions % (2 * np.pi))) != max(directions.size, 2):
        raise ValueError(
            f"`directions` must be two or more different angles. Received: {directions}"
        )
    sides = np.array([[-1.0], [1.0]])

    def own_leads(turns):
        """(..., 2, C) turns away from the weights, to both sides, to the leads there."""
        leads = angular_leads(on_circle(directions + sides * turns), kernel, m)
        return np.diagonal(leads, axis1=-2, axis2=-1)

    steps = np.linspace(0.0, np.pi, SCAN_STEPS + 1)
    scan = own_leads(np.broadcast_to(steps[:, None, None], (len(steps), 2, len(directions))))
    if (scan[0] <= 0).any():
        raise ValueError(
            "`directions` must be so different that their cosines are, by about 1e-8 radians. "
            f"Received: {directions}"
        )
    lost = np.argmax(scan <= 0, axis=0)  # (2, C)
    inside, outside = steps[lost - 1], steps[lost]
    for _ in range(BISECTIONS):
        middle = (inside + outside) / 2
        leads = own_leads(middle) > 0
        inside, outside = np.where(leads, middle, inside), np.where(leads, outside, middle)
    return (directions + sides * inside).T


def class_spread(directions: np.ndarray, m: float) -> Spread:
    """The largest intra-class and the smallest inter-class angle on the circle.

    Args and raises: as for `class_arcs`.
    """
    turn = 2 * np.pi
    begins, ends = class_arcs(np.sort(np.asarray(directions, dtype=float) % turn), m).T
    gaps = np.append(begins[1:], begins[0] + turn) - ends
    widest = min(np.max(ends - begins), np.pi)
    return Spread(float(widest), float(max(gaps.min(), 0.0)))


def smallest_m(directions: np.ndarray) -> float:
    """The m from which the largest intra-class angle is below the smallest inter-class one.

    It is found by bisection: with m every arc shrinks, so one angle falls and the other rises.

    Args and raises: as for `class_arcs`.
    """

    def separable(m):
        spread = class_spread(directions, m)
        return spread.largest_intra < spread.smallest_inter

    low, high = 1.0, 2.0
    while not separable(high):
        low, high = high, 2 * high
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if separable(middle) else (middle, high)
    return high
