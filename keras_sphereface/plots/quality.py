"""Figures of the quality of images."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from keras_sphereface.metrics.discard import DISCARDS, MAX_DISCARD, best_curve
from keras_sphereface.plots import _curves


def plot_discard(axes: Axes, curves: Mapping[str, Sequence[float]], rate: float) -> Axes:
    """Draw error rates over the share of discarded comparisons, with the best and random discard.

    Args:
        axes: Where to draw.
        curves: {measure of quality: (41,) error rates at `metrics.discard.DISCARDS`}.
        rate: Float in [0, 1]. Error rate without any discard.

    Reference: Grother and Tabassi, "Performance of biometric quality measures", TPAMI 2007.

    Example:
        >>> from matplotlib.figure import Figure
        >>> plot_discard(Figure().subplots(), {"norm": np.full(41, 0.1)}, 0.1).get_xlabel()
        'discarded, per cent'
    """
    x = 100 * DISCARDS
    for i, (name, curve) in enumerate(curves.items()):
        style = _curves.line_style(i, len(x))
        axes.plot(x, 100 * np.asarray(curve), label=name, **style)
    ink = matplotlib.rcParams["axes.edgecolor"]
    references = {"random": np.full(len(x), rate), "best possible": best_curve(rate)}
    for (name, rates), line in zip(references.items(), ("--", ":"), strict=True):
        axes.plot(x, 100 * rates, label=name, color=ink, linestyle=line, linewidth=1)
    axes.axvspan(0, 100 * MAX_DISCARD, color="0.5", alpha=0.1, linewidth=0)
    axes.set(xlabel="discarded, per cent", ylabel="FNMR, per cent", title="Error versus discard")
    axes.set(xlim=(0, x[-1]))
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    _curves.add_legend(axes, [*curves, *references])
    return axes
