"""Numbers of the clouds, worked out by hand, and the report."""

import dataclasses

import numpy as np
import pytest

from keras_sphereface.experiments.feature_spheres import statistics
from keras_sphereface.experiments.feature_spheres.train import Cloud, Sphere
from tests.experiments.feature_spheres.drawn import draw_sphere


def test_numbers_of_a_circle_worked_out_by_hand():
    # Class weights at 0, 60 and 180 degrees; two images of each, so many degrees beside it.
    degrees = np.array([-4.0, 4.0, 55.0, 70.0, 180.0, 184.0])
    labels = np.array([0, 0, 1, 1, 2, 2])

    def on_circle(angles):
        return np.stack([np.cos(np.radians(angles)), np.sin(np.radians(angles))], axis=1)

    kernel = on_circle(np.array([0.0, 60.0, 180.0])).T * [1.0, 5.0, 2.0]
    cloud = Cloud(7, 3 * on_circle(degrees), labels, kernel)
    row = statistics.sphere_statistics(Sphere(3, 1, cloud, 0.5, (cloud,)))
    assert (row.dim, row.seed, row.loss, row.m, row.test_accuracy) == (2, 1, "m = 3", 3, 0.5)
    # Half of each class's width: 4, 7.5 and 2 degrees.
    assert row.mean_intra == pytest.approx((4 + 7.5 + 2) / 3)
    assert row.train_mean_intra == pytest.approx(row.mean_intra)
    assert row.largest_intra == pytest.approx(15.0)
    assert row.smallest_inter == pytest.approx(51.0)
    # Neighbors: 0 and 1, 60 degrees apart; 1 and 2, 120 degrees apart.
    assert row.margin == pytest.approx((60 + 120) / 2 * 2 / 4)
    assert row.test_gap == pytest.approx((51 + 110) / 2)


def test_softmax_has_no_margin():
    row = statistics.sphere_statistics(draw_sphere(3, None))
    assert (row.loss, row.margin) == ("softmax", 0.0)


def table_with(angles):
    """A table of statistics; `angles` {(dim, seed): mean_intra for m = 1, 2, ...}."""
    rows = [
        dataclasses.replace(
            statistics.sphere_statistics(draw_sphere(dim, m)), seed=seed, mean_intra=mean
        )
        for (dim, seed), means in angles.items()
        for m, mean in enumerate(means, start=1)
    ]
    return statistics.statistics_table(rows)


def test_clouds_that_do_not_shrink_are_reported():
    table = table_with({(2, 0): [9.0, 8.0, 7.0], (2, 1): [9.0, 6.0, 6.5], (3, 0): [5.0, 5.0]})
    assert statistics.find_growing_clouds(table) == [
        "2-D, seed 1: 6.00 degrees with m = 2, 6.50 with m = 3",
        "3-D, seed 0: 5.00 degrees with m = 1, 5.00 with m = 2",
    ]
    report = statistics.describe_spheres(table)
    assert "does not fall everywhere: 2-D, seed 1" in report
    assert "| 2-D, mean of 2 seeds, +- standard deviation | m = 1 | m = 2 | m = 3 |" in report
    assert "| mean within | 9.0° +- 0.0 | 7.0° +- 1.4 | 6.8° +- 0.4 |" in report
    assert "| 3-D, one seed | m = 1 | m = 2 |" in report
    fine = statistics.describe_spheres(table_with({(2, 0): [3.0, 2.0], (2, 1): [4.0, 3.0]}))
    assert "falls with every m, in every run" in fine
    assert "falls" not in statistics.describe_spheres(table_with({(2, 0): [3.0]}))


def test_a_larger_gap_of_softmax_is_explained_where_it_occurs():
    rows = [
        dataclasses.replace(statistics.sphere_statistics(draw_sphere(dim, m)), test_gap=gap)
        for dim, m, gap in [
            (2, None, 27.0),
            (2, 2, 30.0),
            (2, 4, 21.0),
            (3, None, 34.0),
            (3, 4, 39.0),
        ]
    ]
    report = statistics.describe_spheres(statistics.statistics_table(rows))
    assert "Softmax leaves a larger gap than m = 4 here (2-D)." in report
    without_softmax = statistics.statistics_table(rows[1:3])
    assert "Softmax" not in statistics.describe_spheres(without_softmax)
