"""Decision regions of softmax, modified softmax and A-Softmax, and the bounds of m.

Angles are in radians; class weights are columns, (D, C), as in the heads. A class leads where its
logit, with the margin, is above those of all others: there its condition of the paper's table 1
holds. Points where no class leads lie in the margin.

Reference: Liu et al., "SphereFace", CVPR 2017, sections 3.2 to 3.4.
"""

import math
from typing import NamedTuple, TypeVar

import numpy as np

SCAN_STEPS = 36  # of five degrees, to find an end of an arc
BISECTIONS = 40  # of such a step, or of a few units of m: to 1e-11

Angles = TypeVar("Angles", float, np.ndarray)


class Spread(NamedTuple):
    """Width of the classes and distance between them, as angles in radians.

    Attributes:
        largest_intra: Largest angle between two points of one class, in [0, pi].
        smallest_inter: Smallest angle between points of two classes, in [0, pi].

    Example:
        >>> Spread(largest_intra=0.5, smallest_inter=0.6).smallest_inter
        0.6
    """

    largest_intra: float
    smallest_inter: float


def psi_of_angle(theta: np.ndarray, m: float) -> np.ndarray:
    """Return (-1)^k cos(m theta) - 2k with k = floor(m theta / pi), by the definition.

    Unlike `functional.psi.psi`, a polynomial of the cosine, it takes any real m >= 1: the bounds
    of m are no whole numbers. It falls without a jump from 1 at theta = 0 and never rises.

    Args:
        theta: Angles in radians, of any shape.
        m: The margin, a number >= 1.

    Raises:
        ValueError: If `m` is below 1.

    Reference: Liu et al., "SphereFace", CVPR 2017, equation 7.

    Example:
        >>> psi_of_angle(np.array([0.0, np.pi]), 2.5).round(6).tolist()
        [1.0, -4.0]
    """
    if not m >= 1:
        raise ValueError(f"`m` must be a number >= 1. Received: m={m}")
    k = np.floor(m * np.asarray(theta) / np.pi)
    return (1 - 2 * (k % 2)) * np.cos(m * np.asarray(theta)) - 2 * k


def angular_margin(theta_12: Angles, m: float) -> Angles:
    """Return (m - 1) / (m + 1) theta_12, the angle between the boundaries of two classes.

    Each boundary is theta_12 / (m + 1) from the weight of its class.

    Args:
        theta_12: Angle or angles between two class weights, in radians.
        m: The margin, a number >= 1.

    Example:
        >>> angular_margin(60.0, m=4)  # in the unit of theta_12
        36.0
    """
    return (m - 1) / (m + 1) * theta_12


def two_class_bound(theta_12: float) -> float:
    """Return the m from which two classes, theta_12 apart, are narrower than their distance.

    Towards the other class a class ends theta_12 / (m + 1) from its weight. On its far side it
    ends theta_12 / (m - 1) away, which gives 2 + sqrt(3), as in the paper; but where the weights
    are more than (sqrt(3) - 1) pi apart, it ends earlier, as the other class is nearer by the
    other way round: at (2 pi - theta_12) / (m + 1), which gives 1 + 2 pi / theta_12.

    Args:
        theta_12: Angle between the class weights, in (0, pi].

    Example:
        >>> round(two_class_bound(1.0), 3), round(two_class_bound(np.pi), 3)
        (3.732, 3.0)
    """
    return min(2 + math.sqrt(3), 1 + 2 * math.pi / theta_12)


def softmax_leads(points: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Return the lead of each class of softmax: x.w_i + b_i minus the highest other logit.

    Args:
        points: (..., D).
        kernel: (D, C), class weights of any length.
        bias: (C,).

    Returns:
        (..., C), above 0 where the class is chosen.

    Example:
        >>> softmax_leads(np.array([2.0, 1.0]), np.eye(2), np.zeros(2)).tolist()
        [1.0, -1.0]
    """
    logits = points @ kernel + bias
    return logits - _highest_of_others(logits)


def angular_leads(points: np.ndarray, kernel: np.ndarray, m: float) -> np.ndarray:
    """Return the lead of each class of A-Softmax: psi(theta_i) minus the highest other cosine.

    m = 1 is the modified softmax. The norms of points and weights have no influence.

    Args:
        points: (..., D).
        kernel: (D, C), class weights, none of them 0.
        m: The margin, a number >= 1.

    Returns:
        (..., C), above 0 where the condition of the class holds, for one class at most.

    Example:
        >>> angular_leads(np.array([1.0, 1.0]), np.eye(2), m=1).round(6).tolist()
        [0.0, 0.0]
    """
    lengths = np.linalg.norm(points, axis=-1, keepdims=True)
    unit = points / np.where(lengths > 0, lengths, 1.0)
    cosines = np.clip(unit @ (kernel / np.linalg.norm(kernel, axis=0)), -1.0, 1.0)
    return psi_of_angle(np.arccos(cosines), m) - _highest_of_others(cosines)


def _highest_of_others(values: np.ndarray) -> np.ndarray:
    """For each of (..., C) the highest of the C - 1 others."""
    second, first = np.moveaxis(np.partition(values, -2, axis=-1)[..., -2:], -1, 0)
    return np.where(values == first[..., None], second[..., None], first[..., None])


def leading_class(leads: np.ndarray) -> np.ndarray:
    """Return the class that leads, (..., C) -> (...,), or -1 in the margin.

    Example:
        >>> leading_class(np.array([[0.2, -0.2], [-0.1, -0.3]])).tolist()
        [0, -1]
    """
    return np.where(leads.max(axis=-1) > 0, leads.argmax(axis=-1), -1)


def on_circle(angles: np.ndarray) -> np.ndarray:
    """Return unit vectors (..., 2) in the directions (...,), in radians.

    Example:
        >>> on_circle(np.array([0.0])).tolist()
        [[1.0, 0.0]]
    """
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def front_hemisphere(size: int) -> np.ndarray:
    """Return points of the unit sphere, seen from far along its third axis, (size, size, 3).

    Rows go up and columns right from -1 to 1. Outside the disc stand the points of its rim.

    Example:
        >>> front_hemisphere(3)[1, 1].tolist()
        [0.0, 0.0, 1.0]
    """
    line = np.linspace(-1.0, 1.0, size)
    x, y = np.meshgrid(line, line)
    radius = np.hypot(x, y)
    beyond = np.maximum(radius, 1.0)
    z = np.sqrt(np.maximum(1.0 - radius**2, 0.0))
    return np.stack([x / beyond, y / beyond, z], axis=-1)


def class_arcs(directions: np.ndarray, m: float) -> np.ndarray:
    """Return the arc of the circle on which each class leads.

    No formula for the ends is used: from the class weight outwards, on both sides, the lead of
    the class is sampled every five degrees, and its end is found by bisection.

    Args:
        directions: (C,), angles of the class weights, C >= 2, all different.
        m: The margin, a number >= 1.

    Returns:
        (C, 2): begin and end, begin < direction < end, up to pi away from it.

    Raises:
        ValueError: If there are not two directions, or two are the same.

    Example:
        >>> np.degrees(class_arcs(np.radians([60.0, 120.0]), m=4)).round(6).tolist()
        [[40.0, 72.0], [108.0, 140.0]]
    """
    directions = np.asarray(directions, dtype=float)
    kernel = on_circle(directions).T
    if directions.ndim != 1 or len(np.unique(directions % (2 * np.pi))) != max(directions.size, 2):
        raise ValueError(
            f"`directions` must be two or more different angles. Received: {directions}"
        )
    sides = np.array([[-1.0], [1.0]])

    def leads_at(offsets: np.ndarray) -> np.ndarray:
        """Leads of the classes at angles (..., 2, C) from their weights, to both sides."""
        leads = angular_leads(on_circle(directions + sides * offsets), kernel, m)
        return np.diagonal(leads, axis1=-2, axis2=-1)

    steps = np.linspace(0.0, np.pi, SCAN_STEPS + 1)
    scan = leads_at(np.broadcast_to(steps[:, None, None], (len(steps), 2, len(directions))))
    if (scan[0] <= 0).any():
        raise ValueError(
            "`directions` must be so different that their cosines are, by about 1e-8 radians. "
            f"Received: {directions}"
        )
    lost = np.argmax(scan <= 0, axis=0)  # (2, C)
    inside, outside = steps[lost - 1], steps[lost]
    for _ in range(BISECTIONS):
        middle = (inside + outside) / 2
        leads = leads_at(middle) > 0
        inside, outside = np.where(leads, middle, inside), np.where(leads, outside, middle)
    return (directions + sides * inside).T


def class_spread(directions: np.ndarray, m: float) -> Spread:
    """Return the largest intra-class and the smallest inter-class angle on the circle.

    Args and raises: as for `class_arcs`.

    Example:
        >>> spread = class_spread(np.radians([60.0, 120.0]), m=4)
        >>> np.degrees(spread).round(6).tolist()
        [32.0, 36.0]
    """
    circle = 2 * np.pi
    begins, ends = class_arcs(np.sort(np.asarray(directions, dtype=float) % circle), m).T
    gaps = np.append(begins[1:], begins[0] + circle) - ends
    widest = min(np.max(ends - begins), np.pi)
    return Spread(float(widest), float(max(gaps.min(), 0.0)))


def smallest_m(directions: np.ndarray) -> float:
    """Return the m from which the largest intra-class angle is below the smallest inter-class one.

    It is found by bisection: with m every arc shrinks, so one angle falls and the other rises.

    Args and raises: as for `class_arcs`.

    Example:
        >>> round(smallest_m(np.radians([0.0, 120.0, 240.0])), 6)
        3.0
    """

    def separable(m: float) -> bool:
        spread = class_spread(directions, m)
        return spread.largest_intra < spread.smallest_inter

    low, high = 1.0, 2.0
    while not separable(high):
        low, high = high, 2 * high
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if separable(middle) else (middle, high)
    return high
