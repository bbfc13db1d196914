"""Figures: functions that take arrays and an `Axes`, and return the `Axes`.

They show, save and close nothing, so they draw in scripts without a display, in notebooks, and,
through `figure_rgb`, in TensorBoard:

    axes = plots.plot_circle(plt.figure().subplots(), embeddings, labels, kernel)
"""

from keras_sphereface.plots.benchmarks import plot_head_memory, plot_scaling, plot_step_parts
from keras_sphereface.plots.calibration import plot_calibration
from keras_sphereface.plots.features import (
    VIEW,
    plot_circle,
    plot_sphere,
    plot_unit_circle,
    view_direction,
)
from keras_sphereface.plots.groups import plot_group_rates
from keras_sphereface.plots.identification import plot_cmc, plot_dir, plot_distractors
from keras_sphereface.plots.losses import plot_runs
from keras_sphereface.plots.margins import (
    plot_angle_curves,
    plot_plane_regions,
    plot_separation,
    plot_smallest_m,
    plot_sphere_regions,
)
from keras_sphereface.plots.quality import plot_discard
from keras_sphereface.plots.scores import (
    plot_angle_distributions,
    plot_det,
    plot_roc,
    plot_similarity_histogram,
)
from keras_sphereface.plots.style import COLORS, MARKERS, color_of, figure_rgb, legend_below, tone
from keras_sphereface.plots.training import plot_accuracies, plot_lambda, plot_training_curve

__all__ = [
    "COLORS",
    "MARKERS",
    "VIEW",
    "color_of",
    "figure_rgb",
    "legend_below",
    "plot_accuracies",
    "plot_angle_curves",
    "plot_angle_distributions",
    "plot_calibration",
    "plot_circle",
    "plot_cmc",
    "plot_det",
    "plot_dir",
    "plot_discard",
    "plot_distractors",
    "plot_group_rates",
    "plot_head_memory",
    "plot_lambda",
    "plot_plane_regions",
    "plot_roc",
    "plot_runs",
    "plot_scaling",
    "plot_separation",
    "plot_similarity_histogram",
    "plot_smallest_m",
    "plot_sphere",
    "plot_sphere_regions",
    "plot_step_parts",
    "plot_training_curve",
    "plot_unit_circle",
    "tone",
    "view_direction",
]
