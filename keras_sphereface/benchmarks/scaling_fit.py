"""The constants of the model of the step time, fitted on what a machine measured."""

from collections.abc import Sequence

import numpy as np

from keras_sphereface.benchmarks.scaling_model import (
    PASSES_OF_NETWORK,
    HeadPlan,
    NetworkSize,
    head_work,
)
from keras_sphereface.config.hardware import Hardware

NEVER = 1e30  # the rate of what takes no time


def fit_coefficients(features: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Return the coefficients >= 0 of least squared relative errors of features @ coefficients.

    Relative, since the seconds may differ a hundredfold. What would be negative is left out, the
    most negative first.

    Args:
        features: (N, K), none of them negative.
        seconds: (N,), above 0.

    Raises:
        ValueError: If there are fewer measurements than coefficients.

    Example:
        >>> fit_coefficients(np.array([[1.0, 1.0], [1.0, 2.0]]), np.array([3.0, 5.0])).round(6)
        array([1., 2.])
    """
    features, seconds = np.asarray(features, float), np.asarray(seconds, float)
    if len(features) < features.shape[1]:
        raise ValueError(
            f"There must be at least {features.shape[1]} measurements, one for each coefficient. "
            f"Received: {len(features)}"
        )
    # Columns of one size, for a well-conditioned system.
    sizes = np.maximum(features.max(axis=0), np.finfo(float).tiny)
    scaled = features / sizes / seconds[:, None]
    result, used = np.zeros(features.shape[1]), list(range(features.shape[1]))
    while used:
        found = np.linalg.lstsq(scaled[:, used], np.ones(len(seconds)), rcond=None)[0]
        if (found >= 0).all():
            result[used] = found
            break
        used.pop(int(found.argmin()))
    return result / sizes


def fit_hardware(
    network: NetworkSize,
    network_seconds: dict[int, float],
    head_seconds: Sequence[tuple[HeadPlan, int, float]],
    reduce_seconds: dict[int, float],
    num_workers: int,
) -> Hardware:
    """Return the constants of this machine, whose devices share its cores.

    Args:
        network: The network that was timed.
        network_seconds: {batch size: seconds} of its forward and backward pass.
        head_seconds: (head, batch size, seconds) of steps of heads with their update, on one
            device.
        reduce_seconds: {bytes: seconds} of an all-reduce between the workers.
        num_workers: Number of the workers.

    Example:
        >>> network, size = NetworkSize(1e9, 1000), {1: 0.05, 2: 0.08}
        >>> heads = [(HeadPlan(c, 8), 4, 1e-6 * c) for c in (100, 300)]
        >>> here = fit_hardware(network, size, heads, {10**6: 0.011, 2 * 10**6: 0.021}, 2)
        >>> round(here.fixed_seconds, 6), round(here.network_flops / 1e9), here.latency
        (0.02, 100, 0.001)
    """
    flops = [PASSES_OF_NETWORK * network.flops * batch for batch in network_seconds]
    ones = np.ones(len(flops))
    fixed, per_flop = fit_coefficients(
        np.stack([ones, flops], axis=1), np.array(list(network_seconds.values()))
    )
    work = [head_work(plan, batch) for plan, batch, _ in head_seconds]
    per_product, per_byte = fit_coefficients(
        np.array(work), np.array([seconds for _, _, seconds in head_seconds])
    )
    moved = [2 * (num_workers - 1) / num_workers * size for size in reduce_seconds]
    doublings = np.full(len(moved), np.log2(num_workers))
    latency, per_moved = fit_coefficients(
        np.stack([doublings, moved], axis=1), np.array(list(reduce_seconds.values()))
    )
    link = _rate(per_moved)
    return Hardware(
        network_flops=_rate(per_flop),
        head_flops=_rate(per_product),
        memory_bytes=_rate(per_byte),
        link_bytes=link,
        machine_link_bytes=link,
        latency=round(float(latency), 9),
        devices_per_machine=num_workers,
        shared=True,
        fixed_seconds=float(fixed),
    )


def _rate(seconds: float) -> float:
    return float(1.0 / seconds) if seconds > 0 else NEVER
