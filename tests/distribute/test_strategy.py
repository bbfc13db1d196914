"""The strategy of `TF_CONFIG`, the numbers of workers, and values that must be equal on all."""

import json
import os
import types

import pytest
import tensorflow as tf

from keras_sphereface.distribute import strategy as strategies
from keras_sphereface.distribute.launcher import worker_environments
from tests.helpers.training_process import CONTEXT

TWO = ["127.0.0.1:1", "127.0.0.1:2"]


def cluster(task_type="worker", index=0, **jobs):
    return {"cluster": jobs or {"worker": TWO}, "task": {"type": task_type, "index": index}}


@pytest.fixture(scope="module")
def alone():
    return strategies.make_strategy()


@pytest.fixture
def no_waiting(monkeypatch):
    """TensorFlow would wait for absent workers; no test here may come so far."""

    def wait(**options):
        pytest.fail("a strategy of several workers was made")

    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", wait)


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize(
    "config",
    [
        "{",
        "worker 0 of 2",
        "[]",
        "null",
        json.dumps({"cluster": ["127.0.0.1:1"], "task": {"type": "worker", "index": 0}}),
        json.dumps({"cluster": {"worker": TWO}}),
        json.dumps({"cluster": {"worker": TWO}, "task": "worker"}),
        json.dumps({"cluster": {"worker": TWO}, "task": {"type": "worker"}}),
        json.dumps({"cluster": {"worker": TWO}, "task": {"index": 0}}),
        json.dumps(cluster(index=2)),
        json.dumps(cluster(index=-1)),
        json.dumps(cluster(index="0")),
        json.dumps(cluster("chief")),
        json.dumps(cluster(worker=[])),
        json.dumps(cluster("ps", worker=TWO, ps=TWO)),
        json.dumps(cluster("evaluator", worker=TWO, evaluator=TWO)),
        # Not even as a worker beside them.
        json.dumps(cluster("worker", worker=TWO, ps=TWO)),
        json.dumps(cluster("worker", worker=TWO, evaluator=TWO)),
    ],
)
def test_an_invalid_cluster_is_refused(monkeypatch, config):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(ValueError, match="with an index for each address") as refused:
        strategies.make_strategy()
    assert str(refused.value).startswith('`TF_CONFIG` must be as {"cluster": {"worker": ["host:')
    assert str(refused.value).endswith(f"Received: {config}")


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("addresses", ["127.0.0.1:1", ["127.0.0.1:1", 2]])
def test_addresses_that_are_no_list_of_strings_are_refused(monkeypatch, addresses):
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster(worker=addresses)))
    with pytest.raises(ValueError, match="`TF_CONFIG` must be as"):
        strategies.make_strategy()


@pytest.mark.parametrize(
    "config",
    [None, "", "{}", json.dumps({"task": {"type": "worker", "index": 0}})]
    + [json.dumps(cluster(job, **{job: TWO[:1]})) for job in ("chief", "worker")],
)
def test_one_process_trains_alone_on_all_its_devices(monkeypatch, config):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if config is not None:
        monkeypatch.setenv("TF_CONFIG", config)
    strategy = strategies.make_strategy()
    assert type(strategy) is tf.distribute.MirroredStrategy
    gpus = tf.config.list_logical_devices("GPU")
    devices = gpus or tf.config.list_logical_devices("CPU")
    assert len(strategy.extended.worker_devices) == len(devices)
    assert strategies.is_chief_process()
    assert strategies.num_workers(strategy) == 1
    assert strategies.worker_index(strategy) == 0
    assert strategies.is_chief(strategy)


@pytest.mark.parametrize(
    ("task_type", "index", "expected"),
    [("chief", 0, 0), ("worker", 0, 1), ("worker", 1, 2)],
)
def test_workers_are_numbered_after_the_chief(monkeypatch, task_type, index, expected):
    config = cluster(task_type, index, chief=["127.0.0.1:3"], worker=TWO)
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    # In place of a strategy, which would wait for the others.
    strategy = types.SimpleNamespace(cluster_resolver=resolver)
    assert strategies.is_chief_process() == (expected == 0)
    assert strategies.num_workers(strategy) == 3
    assert strategies.worker_index(strategy) == expected
    assert strategies.is_chief(strategy) == (expected == 0)


def test_one_process_is_equal_to_itself_and_waits_for_no_other(alone):
    strategies.assert_equal_across_workers(alone, 7, "The number")
    strategies.assert_equal_across_workers(alone, -1, "The number")
    strategies.wait_for_all(alone)


def test_in_one_process_no_error_is_taken_for_a_lost_worker(alone):
    with pytest.raises(tf.errors.UnavailableError), strategies.explain_lost_workers(alone, ""):
        raise tf.errors.UnavailableError(None, None, "Connection reset by peer")


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (tf.errors.UnavailableError, True),
        (tf.errors.AbortedError, True),
        (tf.errors.CancelledError, True),
        (tf.errors.DeadlineExceededError, True),
        (tf.errors.InternalError, True),
        (tf.errors.InvalidArgumentError, False),
        (tf.errors.ResourceExhaustedError, False),
    ],
)
def test_errors_of_lost_connections_are_explained(monkeypatch, alone, error, lost):
    # The processes of test_distributed.py lose one another, but not in every way.
    monkeypatch.setattr(strategies, "num_workers", lambda strategy: 2)
    with (
        pytest.raises(
            strategies.WorkerLostError if lost else error, match="Socket closed"
        ) as raised,
        strategies.explain_lost_workers(alone, "Start them again."),
    ):
        raise error(None, None, "Socket closed\nmore of it")
    assert ("Start them again." in str(raised.value)) == lost
    assert "more of it" not in str(raised.value) or not lost


def test_an_internal_error_of_something_else_is_not_explained(monkeypatch, alone):
    monkeypatch.setattr(strategies, "num_workers", lambda strategy: 2)
    with pytest.raises(tf.errors.InternalError), strategies.explain_lost_workers(alone, ""):
        raise tf.errors.InternalError(None, None, "ptxas returned an error")


def compare_numbers(environment, path):
    """In a separate process: write the place of a worker, and the error that it gets."""
    os.environ.update(environment)
    strategy = strategies.make_strategy()
    index = strategies.worker_index(strategy)
    reported = {"index": index, "workers": strategies.num_workers(strategy)}
    reported["chief"] = strategies.is_chief(strategy)
    with strategies.stay_for_the_others(strategy):
        strategies.wait_for_all(strategy)
        strategies.assert_equal_across_workers(strategy, 2**40, "The number")
        try:
            strategies.assert_equal_across_workers(strategy, 10 + index, "The step")
        except ValueError as error:
            reported["refused"] = str(error)
        strategies.wait_for_all(strategy)
    path.write_text(json.dumps(reported))


@pytest.mark.slow
def test_two_workers_must_come_with_the_same_number(tmp_path):
    paths = [tmp_path / f"{index}.json" for index in range(2)]
    processes = [
        CONTEXT.Process(target=compare_numbers, args=(environment, path))
        for environment, path in zip(worker_environments(2), paths, strict=True)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        process.kill()
        assert process.exitcode == 0
    refused = "The step differs between the workers. Received: [10, 11]"
    for index, path in enumerate(paths):
        reported = {"index": index, "workers": 2, "chief": index == 0, "refused": refused}
        assert json.loads(path.read_text()) == reported
