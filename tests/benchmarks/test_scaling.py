"""The benchmark of scaling: what it fits, checks, predicts and writes."""

import json

import pytest

from keras_sphereface.benchmarks import scaling, scaling_measure, scaling_report
from keras_sphereface.benchmarks.scaling_model import HeadPlan, NetworkSize, memory_of_head
from keras_sphereface.config import ScalingBenchmarkConfig
from keras_sphereface.config.hardware import HARDWARE
from keras_sphereface.models import sphereface

SPHEREFACE20 = NetworkSize(3_499_474_944, 22_666_944)


def config(**settings):
    return ScalingBenchmarkConfig(out="unused", **settings)


def test_the_size_of_a_network_is_that_of_its_trained_weights():
    size = scaling_measure.network_size("sphereface4", 0.1, 16)
    network = sphereface(4, width=0.1, embedding_size=16)
    assert size.parameters == network.count_params()


def test_flags_replace_the_hardware():
    changed = scaling_report.hardware_of(
        config(device_tflops=10.0, latency_microseconds=5.0, devices_per_machine=4)
    )
    assert (changed.network_flops, changed.latency) == (1e13, pytest.approx(5e-6))
    assert changed.devices_per_machine == 4
    assert changed.memory_bytes == HARDWARE["a100-tf32"].memory_bytes


@pytest.mark.parametrize("name", list(scaling_report.OVERRIDES))
def test_rates_of_zero_are_refused(name):
    with pytest.raises(ValueError, match=f"`{name}` must be above 0. Received: {name}=0"):
        scaling_report.hardware_of(config(**{name: 0}))


def test_every_size_and_way_is_predicted_and_what_does_not_fit_is_said():
    settings = config(num_classes=(10_572, 100_000_000), devices=(1, 8, 64))
    hardware = scaling_report.hardware_of(settings)
    rows = list(scaling_report.predictions(settings, hardware, SPHEREFACE20))
    assert len(rows) == 2 * 3 * 3
    table = scaling_report.describe_predictions(rows, hardware).splitlines()
    cells = {tuple(line.split(" | ")[:3]): line for line in table[2:]}
    assert "does not fit" in cells["| 100,000,000", "1", "class shards, sampled"]
    assert "does not fit" not in cells["| 100,000,000", "64", "class shards, sampled"]
    # What one device does is the unit.
    assert " | 1.00 | " in cells["| 10,572", "1", "class shards"]


def test_memory_by_kind_falls_with_shards_and_sampling():
    cases = scaling_report.memory_cases(config(), 100_000_000)
    assert cases["one block"] > cases["blocks"] > cases["8 class shards"]
    assert cases["8 class shards"] / cases["64 class shards"] == pytest.approx(8, rel=0.2)
    assert cases["blocks, Adam"] / cases["blocks"] == pytest.approx(4 / 3, rel=0.01)
    # The gradient of all class weights is held where classes are sampled too.
    assert cases["blocks, 10% sampled"] > cases["blocks, projected"]


def test_predictions_alone_need_no_measurement(tmp_path):
    text = scaling.benchmark_scaling(
        ScalingBenchmarkConfig(
            out=str(tmp_path), backbone="sphereface4", width=0.05, repeats=0, num_classes=(1000,)
        )
    )
    assert "## Predictions" in text
    assert "## Fitted" not in text
    written = json.loads((tmp_path / "scaling.json").read_text())
    assert written["measured"] is None
    assert [row["devices"] for row in written["predictions"]] == [1, 1, 1, 8, 8, 8, 64, 64, 64]
    names = {path.name for path in tmp_path.iterdir()}
    files = ["scaling.json", "scaling.md", "scaling.png", "scaling.svg", "scaling-dark.png"]
    assert names == set(files)


def test_a_share_of_no_classes_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`sample_rate`"):
        scaling.benchmark_scaling(ScalingBenchmarkConfig(out=str(tmp_path), sample_rate=0.0))


@pytest.mark.full
def test_the_memory_of_a_head_is_that_of_the_model(records_folder):
    settings = scaling_measure.step_settings(str(records_folder), "sphereface4", 0.05, 512, 8, 0)
    measured = scaling_measure.measure_head_memory(settings, 60_000)
    predicted = memory_of_head(HeadPlan(60_000), batch_size=8).total
    assert 0.8 < measured / predicted < 1.5


@pytest.mark.full
def test_everything_is_measured_and_checked(tmp_path):
    text = scaling.benchmark_scaling(
        ScalingBenchmarkConfig(
            out=str(tmp_path),
            backbone="sphereface4",
            width=0.05,
            repeats=1,
            batch_sizes=(2, 4),
            head_classes=(100, 200),
            check_classes=2000,
        )
    )
    written = json.loads((tmp_path / "scaling.json").read_text())["measured"]
    assert list(written["network_seconds"]) == ["2", "4"]
    assert len(written["head_seconds"]) == 2 * 2 + 2
    assert [check["case"] for check in written["steps"]] == [
        "1 device, 200 classes",
        "1 device, 2,000 classes",
        "2 workers, 2,000 classes",
        "2 workers, 2,000 classes, sharded",
    ]
    assert all(check["measured"] > 0 and check["predicted"] > 0 for check in written["steps"])
    assert len(written["memory"]) == 7
    assert "## Checked here" in text
