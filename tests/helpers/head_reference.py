"""The losses of all heads by the formulas of their papers, in NumPy, and their exact slopes.

Nothing here is shared with the package, and no library of tensors is imported. Arrays may be real
or complex: with an imaginary step h the slope of f is imag(f(x + ih)) / h, exact to rounding since
nothing is subtracted. What decides, which piece or which pair, looks at the real part, and of what
is "detached" the real part alone remains.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

STEP = 1e-30


@dataclasses.dataclass(frozen=True)
class Weights:
    """Class weights (D, C), their bias, (C,) or one number, and the centers (C, D) of classes.

    `state` holds what a head keeps of the batches, by the name of its weight.
    """

    kernel: np.ndarray
    bias: np.ndarray
    centers: np.ndarray
    state: Mapping[str, float] = dataclasses.field(default_factory=dict)


Losses = Callable[[np.ndarray, np.ndarray, Weights], np.ndarray]


def slopes(function: Callable[[np.ndarray], np.ndarray], array: np.ndarray) -> np.ndarray:
    """The slopes of the sum of `function(array)` by every number of the array."""
    result = np.empty(np.shape(array))
    for place in np.ndindex(result.shape):
        moved = np.array(array, complex)
        moved[place] += 1j * STEP
        result[place] = np.sum(function(moved)).imag / STEP
    return result


def detached(value: np.ndarray, sloping: np.ndarray) -> np.ndarray:
    """`value`, with the slopes of `sloping`."""
    return sloping + np.real(value - sloping)


def length(array: np.ndarray, axis: int) -> np.ndarray:
    return np.sqrt(np.sum(array * array, axis=axis, keepdims=True))


def unit(array: np.ndarray, axis: int) -> np.ndarray:
    return array / length(array, axis)


def psi_by_definition(theta: np.ndarray, m: int) -> np.ndarray:
    """The piecewise definition read literally; the angle is the input, so no arccos."""
    k = np.minimum(np.floor(np.real(theta) * m / np.pi), m - 1)
    return (-1) ** k * np.cos(m * theta) - 2 * k


def of_target(rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return rows[np.arange(len(labels)), labels]


def cross_entropy(
    target: np.ndarray, logits: np.ndarray, labels: np.ndarray, counts: Any = 1.0
) -> np.ndarray:
    """That of logits with `target` in place of each target's; class j counts `counts[j]` times."""
    others = np.arange(logits.shape[1]) != labels[:, None]
    return np.log1p(np.sum(others * counts * np.exp(logits - target[:, None]), axis=1))


def angles_of(x: np.ndarray, kernel: np.ndarray, projected: bool = False) -> np.ndarray:
    """Angles (B, C); projected class weights are of unit length, and no slope goes through it."""
    return np.arccos(unit(x, 1) @ (kernel if projected else unit(kernel, 0)))


def softmax(x: np.ndarray, labels: np.ndarray, weights: Weights) -> np.ndarray:
    logits = x @ weights.kernel + weights.bias
    return cross_entropy(of_target(logits, labels), logits, labels)


def scaled(
    scale: float,
    target: Callable[[np.ndarray], np.ndarray],
    projected: bool = False,
    detach: bool = False,
) -> Losses:
    """Softmax of s cos(theta), with s target(theta) for the target class."""

    def losses(x: np.ndarray, labels: np.ndarray, weights: Weights) -> np.ndarray:
        theta = angles_of(x, weights.kernel, projected)
        logits, own = scale * np.cos(theta), of_target(theta, labels)
        with_margin = scale * target(own)
        if detach:
            with_margin = detached(with_margin, scale * np.cos(own))
        return cross_entropy(with_margin, logits, labels)

    return losses


def added_angle(m: float | np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    def target(theta: np.ndarray) -> np.ndarray:
        beyond = np.cos(theta) - m * np.sin(m)
        return np.where(np.real(theta) < np.pi - m, np.cos(theta + m), beyond)

    return target


def caffe_coefficients(c: np.ndarray, norm: np.ndarray, m: int) -> tuple[Any, Any]:
    """a and b of d(|x| psi) / dx = a w + b x, in the closed forms of the Caffe layer."""
    s0 = np.sign(c)
    if m == 1:
        return 1.0, 0.0
    if m == 2:
        return 4 * s0 * c, -(2 * s0 * c**2 + 1) / norm
    if m == 3:
        s1 = np.sign(np.abs(c) - 0.5)
        s2 = s0 * (1 + s1) - 2
        return s1 * (12 * c**2 - 3), -(8 * s1 * c**3 - s2) / norm
    s3 = s0 * np.sign(2 * c**2 - 1)
    s4 = 2 * s0 + s3 - 3
    return s3 * (32 * c**3 - 16 * c), -(s3 * (24 * c**4 - 8 * c**2 - 1) - s4) / norm


def asoftmax(
    m: int, annealing_lambda: float, gradient: str = "exact", projected: bool = False
) -> Losses:
    share = 1.0 / (1.0 + annealing_lambda)

    def losses(x: np.ndarray, labels: np.ndarray, weights: Weights) -> np.ndarray:
        theta, norm = angles_of(x, weights.kernel, projected), length(x, 1)[:, 0]
        own = of_target(theta, labels)
        plain = norm * np.cos(own)
        target = plain + share * (norm * psi_by_definition(own, m) - plain)
        if gradient != "exact":
            target = detached(target, plain)
        if gradient == "caffe":
            w = np.real(unit(weights.kernel, 0))[:, labels].T
            a, b = caffe_coefficients(np.cos(np.real(own)), np.real(norm), m)
            size = np.sqrt(a**2 + b**2)
            # Its slope is that of the layer, a w + b x at length 1, in place of w.
            term = (a / size - 1.0) * np.sum(x * w, 1) + b / size * np.sum(x * x, 1) / 2.0
            target = target + share * (term - np.real(term))
        return cross_entropy(target, norm[:, None] * np.cos(theta), labels)

    return losses


def sphereface_plus(m: int, annealing_lambda: float, energy_weight: float) -> Losses:
    def losses(x: np.ndarray, labels: np.ndarray, weights: Weights) -> np.ndarray:
        units = unit(weights.kernel, 0)
        angles = np.arccos((units.T @ units)[np.triu_indices(units.shape[1], 1)])
        plain = asoftmax(m, annealing_lambda)(x, labels, weights)
        return plain + energy_weight * np.mean(angles**-2)

    return losses


def multiplied_angle(m: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda theta: np.where(np.real(m * theta) < np.pi, np.cos(m * theta), -1.0)


def sphereface_r(
    version: str, m: float, norm: str, scale: float, detach: bool, norm_weight: float = 0.01
) -> Losses:
    def losses(x: np.ndarray, labels: np.ndarray, weights: Weights) -> np.ndarray:
        lengths = length(x, 1) if norm != "hard" else np.full((len(x), 1), scale)
        theta = angles_of(x, weights.kernel)
        logits = lengths * np.cos(theta)
        target = of_target(logits, labels)
        if version == "v1":
            plain = target
            target = lengths[:, 0] * multiplied_angle(m)(of_target(theta, labels))
            target = detached(target, plain) if detach else target
        else:
            logits = detached(lengths * np.cos(theta / m), logits)
        result = cross_entropy(target, logits, labels)
        result = result if norm == "free" else 30.0 / scale * result
        return result + (norm_weight * (lengths[:, 0] - scale) ** 2 if norm == "soft" else 0.0)

    return losses


def sphereface2(m: float, r: float = 40.0, alpha: float = 0.7) -> Losses:
    def g(z: np.ndarray) -> np.ndarray:
        return 2 * ((z + 1) / 2) ** 3 - 1

    def losses(x: np.ndarray, labels: np.ndarray, weights: Weights) -> np.ndarray:
        cosines = np.cos(angles_of(x, weights.kernel))
        positive = r * (g(of_target(cosines, labels)) - m) + weights.bias
        negative = r * (g(cosines) + m) + weights.bias
        others = np.arange(cosines.shape[1]) != labels[:, None]
        against = np.sum(others * np.log1p(np.exp(negative)), axis=1)
        return (alpha * np.log1p(np.exp(-positive)) + (1 - alpha) * against) / r

    return losses


def softmax_contrastive(m: float, term_weight: float) -> Losses:
    def losses(x: np.ndarray, labels: np.ndarray, weights: Weights) -> np.ndarray:
        rows, mated, non_mated = unit(x, 1), [], []
        for i, j in np.ndindex(len(x), len(x)):
            if i == j:
                continue
            distance = length(rows[i] - rows[j], 0)[0]
            if labels[i] == labels[j]:
                mated.append(distance**2)
            else:
                non_mated.append((m - distance) ** 2 if np.real(distance) < m else 0.0)
        pairs = (np.mean(mated) + np.mean(non_mated)) / 2
        return softmax(x, labels, weights) + term_weight * pairs

    return losses


def softmax_center(term_weight: float) -> Losses:
    def losses(x: np.ndarray, labels: np.ndarray, weights: Weights) -> np.ndarray:
        offsets = x - weights.centers[labels]
        return softmax(x, labels, weights) + term_weight / 2 * np.sum(offsets * offsets, 1)

    return losses


def moved_centers(x: np.ndarray, labels: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """The centers after a step, equation 4 of Wen et al. with rate 1 / 2."""
    moved = centers.copy()
    for label in set(labels):
        offsets = x[labels == label] - centers[label]
        moved[label] += 0.5 * offsets.sum(0) / (1 + len(offsets))
    return moved


def triplet(m: float, hard: bool = False) -> Losses:
    """One loss for all samples: the mean over pairs, or the hardest triplet of each anchor."""

    def losses(x: np.ndarray, labels: np.ndarray, weights: Weights) -> np.ndarray:
        rows, found = unit(x, 1), []
        for i, label in enumerate(labels):
            distances = np.sum((rows - rows[i]) ** 2, axis=1)
            distances = np.sqrt(distances) if hard else distances
            by_distance = sorted(range(len(x)), key=lambda j, d=distances: np.real(d[j]))
            positives = [j for j in by_distance if labels[j] == label and j != i]
            negatives = [j for j in by_distance if labels[j] != label]
            if hard:
                gap = distances[positives[-1]] if positives else 0.0
                found.append(gap - distances[negatives[0]] + m)
                continue
            for p in positives:
                farther = [n for n in negatives if np.real(distances[n] - distances[p]) > 0]
                found.append(distances[p] - distances[[*farther, negatives[-1]][0]] + m)
        mean = sum(value if np.real(value) > 0 else 0.0 for value in found) / len(found)
        return np.full(len(x), mean)

    return losses


def clipped(array: np.ndarray, low: float, high: float) -> np.ndarray:
    """Without a slope where it is clipped."""
    return np.where(np.real(array) < low, low, np.where(np.real(array) > high, high, array))


def subcenter_arcface(m: float, scale: float, count: int) -> Losses:
    def losses(x: np.ndarray, labels: np.ndarray, weights: Weights) -> np.ndarray:
        theta = angles_of(x, weights.kernel).reshape(len(x), -1, count)
        nearest = np.argmin(np.real(theta), axis=2)
        theta = np.take_along_axis(theta, nearest[:, :, None], axis=2)[:, :, 0]
        target = scale * added_angle(m)(of_target(theta, labels))
        return cross_entropy(target, scale * np.cos(theta), labels)

    return losses


def magface(
    scale: float, margins: tuple[float, float], norms: tuple[float, float], weight: float
) -> Losses:
    def losses(x: np.ndarray, labels: np.ndarray, weights: Weights) -> np.ndarray:
        a, theta = clipped(length(x, 1)[:, 0], *norms), angles_of(x, weights.kernel)
        slope = (margins[1] - margins[0]) / (norms[1] - norms[0])
        margin = slope * (a - norms[0]) + margins[0]
        target = scale * added_angle_by(margin)(of_target(theta, labels))
        softmax_part = cross_entropy(target, scale * np.cos(theta), labels)
        return softmax_part + weight * (1 / a + a / norms[1] ** 2)

    return losses


def added_angle_by(margin: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """`added_angle` with a margin that has slopes."""

    def target(theta: np.ndarray) -> np.ndarray:
        beyond = np.cos(theta) - margin * np.sin(margin)
        return np.where(np.real(theta + margin) < np.pi, np.cos(theta + margin), beyond)

    return target


def adaface(m: float, scale: float, h: float) -> Losses:
    def losses(x: np.ndarray, labels: np.ndarray, weights: Weights) -> np.ndarray:
        theta, norms = angles_of(x, weights.kernel), np.real(length(x, 1)[:, 0])
        spread = (weights.state["norm_std"] + 1e-3) / h
        q = np.clip((np.clip(norms, 1e-3, 100) - weights.state["norm_mean"]) / spread, -1, 1)
        angle = clipped(of_target(theta, labels) - m * q, 0.0, np.pi)
        target = scale * (np.cos(angle) - (m * q + m))
        return cross_entropy(target, scale * np.cos(theta), labels)

    return losses


def moved_norms(x: np.ndarray, labels: np.ndarray, weights: Weights) -> dict[str, float]:
    """Mean and standard deviation of the norms after a batch, each 1 / 100 of the way."""
    norms = np.clip(np.real(length(x, 1)), 1e-3, 100)
    state = weights.state
    return {
        "norm_mean": 0.01 * np.mean(norms) + 0.99 * state["norm_mean"],
        "norm_std": 0.01 * np.std(norms, ddof=1) + 0.99 * state["norm_std"],
    }


def curricularface(m: float, scale: float) -> Losses:
    def losses(x: np.ndarray, labels: np.ndarray, weights: Weights) -> np.ndarray:
        theta, t = angles_of(x, weights.kernel), weights.state["t"]
        own, cosines = of_target(theta, labels), np.cos(theta)
        hard = np.real(cosines) > np.real(np.cos(own + m))[:, None]
        modulated = np.where(hard, cosines * (t + cosines), cosines)
        return cross_entropy(scale * added_angle(m)(own), scale * modulated, labels)

    return losses


def moved_t(x: np.ndarray, labels: np.ndarray, weights: Weights) -> dict[str, float]:
    cosines = np.cos(of_target(angles_of(x, weights.kernel), labels))
    return {"t": 0.01 * np.mean(np.real(cosines)) + 0.99 * weights.state["t"]}


def circle(m: float, gamma: float) -> Losses:
    def losses(x: np.ndarray, labels: np.ndarray, weights: Weights) -> np.ndarray:
        cosines = np.cos(angles_of(x, weights.kernel))
        own = of_target(cosines, labels)
        a_p = np.maximum(1 + m - np.real(own), 0.0)
        a_n = np.maximum(np.real(cosines) + m, 0.0)
        others = np.arange(cosines.shape[1]) != labels[:, None]
        against = np.sum(others * np.exp(gamma * a_n * (cosines - m)), axis=1)
        return np.log(1 + against * np.exp(-gamma * a_p * (own - (1 - m))))

    return losses


def uniface(m: float, scale: float, negative_weight: float = 1.0) -> Losses:
    def losses(x: np.ndarray, labels: np.ndarray, weights: Weights) -> np.ndarray:
        cosines, b = np.cos(angles_of(x, weights.kernel)), weights.bias
        others = np.arange(cosines.shape[1]) != labels[:, None]
        against = np.sum(others * np.log(1 + np.exp(scale * cosines - b)), axis=1)
        positive = np.log(1 + np.exp(-scale * (of_target(cosines, labels) - m) + b))
        return positive + negative_weight * against

    return losses


def adacos(x: np.ndarray, labels: np.ndarray, weights: Weights) -> np.ndarray:
    logits = weights.state["adaptive_scale"] * np.cos(angles_of(x, weights.kernel))
    return cross_entropy(of_target(logits, labels), logits, labels)


def moved_scale(x: np.ndarray, labels: np.ndarray, weights: Weights) -> dict[str, float]:
    theta = np.real(angles_of(x, weights.kernel))
    sums = []
    for row, label in zip(
        np.exp(weights.state["adaptive_scale"] * np.cos(theta)), labels, strict=True
    ):
        sums.append(sum(value for j, value in enumerate(row) if j != label))
    median = np.median(of_target(theta, labels))
    return {"adaptive_scale": np.log(np.mean(sums)) / np.cos(min(np.pi / 4, median))}


# {head: its state after a batch, before whose loss it moves}
MOVED = {"adaface": moved_norms, "curricularface": moved_t, "adacos": moved_scale}


def normal_margins(uniforms: np.ndarray, m: float, std: float) -> np.ndarray:
    """The margins of ElasticFace from two uniform numbers each, by Box and Muller."""
    first, second = np.split(uniforms, 2)
    return m + std * np.sqrt(-2 * np.log1p(-first)) * np.cos(2 * np.pi * second)


@dataclasses.dataclass(frozen=True)
class Case:
    """A head: its name in `config.choices.HEADS`, its arguments, and the losses of its paper."""

    kind: str
    settings: dict[str, Any]
    losses: Losses
    state: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def num_centers(self) -> int:
        """The class weights of each class."""
        return 3 if self.kind == "subcenter-arcface" else 1


# At step 3 lambda is 16 / (1 + 3) = 4, exactly.
STEP_NUMBER, LAMBDA = 3, 4.0
_ANNEALED = {"base": 16.0, "gamma": 1.0, "lambda_min": 1.0}
CASES = {
    "softmax": Case("softmax", {}, softmax),
    "normface": Case("normface", {"scale": 9.0}, scaled(9.0, np.cos)),
    "normface projected": Case(
        "normface",
        {"scale": 9.0, "kernel_norm": "projected"},
        scaled(9.0, np.cos, projected=True),
    ),
    "cosface": Case("cosface", {"scale": 9.0}, scaled(9.0, lambda t: np.cos(t) - 0.35)),
    "cosface of the paper": Case("cosface", {}, scaled(64.0, lambda t: np.cos(t) - 0.35)),
    "arcface": Case("arcface", {"scale": 9.0}, scaled(9.0, added_angle(0.5))),
    "arcface of the paper": Case("arcface", {}, scaled(64.0, added_angle(0.5))),
    "arcface detached": Case(
        "arcface",
        {"scale": 9.0, "gradient": "detached"},
        scaled(9.0, added_angle(0.5), detach=True),
    ),
    **{
        f"asoftmax m {m}": Case("asoftmax", {"m": m, **_ANNEALED}, asoftmax(m, LAMBDA))
        for m in (1, 2, 3, 4, 5)
    },
    **{
        f"asoftmax {gradient}": Case(
            "asoftmax",
            {"m": 4, **_ANNEALED, "gradient": gradient},
            asoftmax(4, LAMBDA, gradient),
        )
        for gradient in ("detached", "caffe")
    },
    "asoftmax projected": Case(
        "asoftmax",
        {"m": 3, **_ANNEALED, "kernel_norm": "projected"},
        asoftmax(3, LAMBDA, projected=True),
    ),
    "asoftmax pure": Case("asoftmax", {"base": 0.0, "lambda_min": 0.0}, asoftmax(4, 0.0)),
    "sphereface+": Case("sphereface+", _ANNEALED, sphereface_plus(4, LAMBDA, 1.0)),
    "sphereface-r-v1": Case("sphereface-r-v1", {}, sphereface_r("v1", 1.5, "hard", 30.0, True)),
    "sphereface-r-v1 exact": Case(
        "sphereface-r-v1",
        {"scale": 9.0, "gradient": "exact"},
        sphereface_r("v1", 1.5, "hard", 9.0, False),
    ),
    "sphereface-r-v1 free": Case(
        "sphereface-r-v1",
        {"embedding_norm": "free"},
        sphereface_r("v1", 1.5, "free", 30.0, True),
    ),
    "sphereface-r-v2": Case("sphereface-r-v2", {}, sphereface_r("v2", 1.5, "hard", 30.0, True)),
    "sphereface-r-v2 soft": Case(
        "sphereface-r-v2",
        {"embedding_norm": "soft", "scale": 9.0},
        sphereface_r("v2", 1.5, "soft", 9.0, True),
    ),
    "sphereface2": Case("sphereface2", {}, sphereface2(0.4)),
    "subcenter-arcface": Case("subcenter-arcface", {"scale": 9.0}, subcenter_arcface(0.5, 9.0, 3)),
    "magface": Case(
        "magface",
        {"scale": 9.0, "norm_min": 1.5, "norm_max": 4.0, "term_weight": 2.0},
        magface(9.0, (0.45, 0.8), (1.5, 4.0), 2.0),
    ),
    "adaface": Case(
        "adaface",
        {"scale": 9.0},
        adaface(0.4, 9.0, 0.333),
        {"norm_mean": 2.5, "norm_std": 0.4},
    ),
    "curricularface": Case("curricularface", {"scale": 9.0}, curricularface(0.5, 9.0), {"t": 0.3}),
    "elasticface-arc": Case("elasticface-arc", {"scale": 9.0}, scaled(9.0, added_angle(0.5))),
    "elasticface-cos": Case(
        "elasticface-cos", {"scale": 9.0}, scaled(9.0, lambda t: np.cos(t) - 0.35)
    ),
    "circle": Case("circle", {"scale": 16.0}, circle(0.25, 16.0)),
    "circle steep": Case("circle", {"scale": 64.0}, circle(0.25, 64.0)),
    "uniface": Case("uniface", {"scale": 9.0}, uniface(0.4, 9.0)),
    "adacos": Case("adacos", {}, adacos, {"adaptive_scale": 7.0}),
    "softmax+contrastive": Case("softmax+contrastive", {}, softmax_contrastive(1.0, 1.0)),
    "softmax+center": Case("softmax+center", {}, softmax_center(0.003)),
    "triplet": Case("triplet", {}, triplet(0.2)),
    "triplet-hard": Case("triplet-hard", {}, triplet(0.2, hard=True)),
}
