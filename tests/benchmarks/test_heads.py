"""The benchmark of the heads: its cases, its numbers and its files."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from keras_sphereface.benchmarks import heads
from keras_sphereface.benchmarks.head_cases import (
    ASOFTMAX,
    BLOCKS,
    CASES,
    DENSE,
    StepShape,
    draw_batch,
    make_step,
)
from keras_sphereface.benchmarks.processes import in_new_process
from keras_sphereface.config import HeadBenchmarkConfig
from keras_sphereface.config.choices import HEADS
from keras_sphereface.data import images

SMALL = {"batch_size": 8, "embedding_size": 16, "repeats": 2}


def test_every_head_with_class_weights_is_a_case():
    expected = {name for name, head in HEADS.items() if head.has_class_weights} - {"asoftmax"}
    assert expected < set(CASES)


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=() if case == DENSE else pytest.mark.slow) for case in CASES],
)
def test_every_case_is_a_step_with_gradients(case):
    shape = StepShape(batch_size=8, embedding_size=16, num_classes=40)
    loss, gradients = make_step(case, shape)(*draw_batch(shape, 0))
    assert np.isfinite(float(loss))
    assert gradients[0].shape == (8, 16)
    assert sum(int(tf.size(g)) for g in gradients[1:]) >= 16 * 40
    assert all(np.isfinite(g).all() for g in gradients)


@pytest.mark.full
def test_the_benchmark_writes_table_figure_and_programs(tmp_path):
    # Each case is a separate process, which takes seconds to start: two cases are enough.
    sizes = {"num_classes": 40, "sweep": (60, 30), "cases": (BLOCKS,)}
    text = heads.benchmark_heads(HeadBenchmarkConfig(out=str(tmp_path), **sizes, **SMALL))
    table = pd.read_csv(tmp_path / "head.csv")
    assert table[["section", "num_classes", "case", "rounds"]].to_numpy().tolist() == [
        ["table", 40, DENSE, 2],
        ["table", 40, BLOCKS, 2],
        *(["figure", c, case, 3] for c in (30, 60) for case in (DENSE, BLOCKS)),
    ]
    assert (table["milliseconds"] > 0).all()
    assert (table.loc[table["case"] == DENSE, "ratio"] == 1.0).all()
    assert (tmp_path / "head.md").read_text() == text
    assert f"| {BLOCKS} |" in text
    assert f"TensorFlow {tf.__version__}" in text
    assert images.decode((tmp_path / "head.png").read_bytes()).std() > 10
    assert len(list(tmp_path.glob("*.hlo"))) == 4


@pytest.mark.slow
def test_times_are_measured_in_rounds():
    seconds = heads.measure_times(StepShape(8, 16, 40), (DENSE, BLOCKS), rounds=2, seed=0)
    assert list(seconds.columns) == [DENSE, BLOCKS]
    assert seconds.shape == (2, 2)
    assert (seconds > 0).all(axis=None)


@pytest.mark.full
def test_the_memory_of_a_step_grows_with_the_logits_and_not_in_blocks():
    """B = 512, C = 40,000: the logits alone are 82 MB, a block of them 33 MB."""
    shape = StepShape(batch_size=512, embedding_size=16, num_classes=40_000)
    whole, blocks = (
        in_new_process(heads.measure_step_memory, shape, case, 0) for case in (ASOFTMAX, BLOCKS)
    )
    assert whole > 2 * 82
    assert blocks < 0.75 * whole


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"repeats": 0}, "`repeats` must be an int >= 1. Received: repeats=0"),
        ({"num_classes": 2}, "`num_classes` must be an int >= 8. Received: num_classes=2"),
        ({"cases": ("Dens",)}, "`cases` must be one of .* Received: cases='Dens'"),
        ({"sweep": (100, 1)}, "`sweep` must be an int >= 8. Received: sweep=1"),
    ],
)
def test_sizes_that_cannot_be_measured_are_refused(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        heads.benchmark_heads(HeadBenchmarkConfig(out=str(tmp_path / "x"), **settings))
    assert not (tmp_path / "x").exists()
