"""A class-sharded head gives what the head in one piece gives, and holds a shard of its weights."""

import dataclasses
import functools
import itertools
import json
import math
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keras_sphereface.benchmarks.scaling_model import HeadPlan
from keras_sphereface.heads import ASoftmax
from keras_sphereface.heads import sharded as sharded_module
from keras_sphereface.heads.angular_head import DEFAULT_BLOCK_SIZE
from keras_sphereface.heads.sharded import sharded_block_size
from keras_sphereface.training.checkpoints import DAMAGE
from keras_sphereface.utils.compat import plain_update
from tests.conftest import ROOT
from tests.helpers import sharded_head_process as process

FOUR = pytest.param(4, marks=pytest.mark.full)
COUNTS = [2, FOUR]
ALL_CASES = [
    pytest.param(count, case, marks=[pytest.mark.full] if count == 4 else [])
    for count, cases in process.CASES.items()
    for case in cases
]
UPDATES = [(rule, name) for rule in process.SLOTS for name in process.UPDATED]


def run_jobs(devices, jobs, out):
    """{job: its arrays} of a process that has this many devices."""
    out.mkdir()
    program = [sys.executable, "-m", "tests.helpers.sharded_head_process"]
    arguments = {"devices": devices, "out": str(out), "jobs": jobs}
    done = subprocess.run(
        [*program, json.dumps(arguments)], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {tuple(job): dict(np.load(out / f"{i}.npz")) for i, job in enumerate(jobs)}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The folders to which two devices and four save the same values."""
    folder = tmp_path_factory.mktemp("saved")
    return {count: folder / f"by-{count}" for count in (2, 4)}


class Results:
    """{(devices, job, *arguments): arrays}; a process for a number of devices at its first key.

    A last process reads with two devices what four have saved.
    """

    def __init__(self, folders, out):
        self.folders, self.out, self.arrays = folders, out, {}

    def __getitem__(self, key):
        if key not in self.arrays:
            self.run(key)
        return self.arrays[key]

    def run(self, key):
        count, saved = key[0], {count: str(folder) for count, folder in self.folders.items()}
        if key == (2, "restored", saved[4]):
            self[4, "saved", saved[4]]
            return self.add(2, [("restored", saved[4])], self.out / "again")
        jobs = [
            *(("step_values", case) for case in process.CASES[count]),
            *(("updated", *update) for update in UPDATES),
            *(("sampled",), ("held",), ("widest",), ("saved", saved[count])),
        ]
        if count == 4:
            self[2, "saved", saved[2]]
            jobs += [("restored", saved[2]), ("refused", 3)]
        return self.add(count, jobs, self.out / str(count))

    def add(self, count, jobs, out):
        for job, arrays in run_jobs(count, jobs, out).items():
            self.arrays[(count, *job)] = arrays


@pytest.fixture(scope="module")
def results(folders, tmp_path_factory):
    return Results(folders, tmp_path_factory.mktemp("results"))


def whole_head(kind, sample_rate=1.0, **settings):
    """The head in one piece, without a sample of the classes."""
    del sample_rate
    head = process.make_head(kind, **settings)
    head.build((None, process.D))
    start, biases = 0, process.start_bias(head.num_classes)
    for bias in head.biases:
        stop = start + int(bias.shape[0])
        bias.assign(biases[start:stop])
        start = stop
    return head


def joined(tensors):
    return np.concatenate([tf.convert_to_tensor(tensor).numpy() for tensor in tensors], axis=-1)


@functools.cache
def expected(count, case):
    """The `step_values` of the head in one piece on one device."""
    kind, settings = process.CASES[count][case]
    head = whole_head(kind, **settings)
    embeddings, labels = map(tf.constant, process.batch(**settings))
    small = head.trainable_variables[len(head.kernels) + len(head.biases) :]
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        output = head.compute_losses(embeddings, labels, True, tf.constant(process.STEP, tf.int64))
        loss = process.mean_loss(output.losses)
    sources = [[embeddings], head.kernels, head.biases, small]
    by_embeddings, by_kernels, by_biases, by_small = tape.gradient(loss, sources)
    return {
        "start_kernel": joined(head.kernels),
        **{name: value.numpy() for name, value in output._asdict().items()},
        "by_embeddings": joined(by_embeddings),
        "by_kernel": joined(by_kernels),
        **({"by_bias": joined(by_biases)} if by_biases else {}),
        **{f"by_small_{i}": gradient.numpy() for i, gradient in enumerate(by_small)},
    }


def assert_close(actual, expected, name=""):
    """Check that arrays are equal to the rounding of the dtype, relative to the largest number."""
    tolerance = 1e-5 if expected.dtype == np.float32 else 1e-12
    assert actual.dtype == expected.dtype
    most = max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * most, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize(("count", "case"), ALL_CASES)
def test_every_replica_has_the_losses_of_the_head_in_one_piece(results, count, case):
    actual = results[count, "step_values", case]
    for name in ("losses", "target_cosine"):
        assert len(actual[name]) == count
        for on_replica in actual[name]:
            assert_close(on_replica, expected(count, case)[name], name)


@pytest.mark.slow
@pytest.mark.parametrize(("count", "case"), ALL_CASES)
def test_every_replica_has_the_right_answers_of_the_head_in_one_piece(results, count, case):
    right = expected(count, case)["correct"]
    assert 0 < right.sum() < process.B
    for on_replica in results[count, "step_values", case]["correct"]:
        np.testing.assert_array_equal(on_replica, right)


@pytest.mark.slow
@pytest.mark.parametrize(("count", "case"), ALL_CASES)
def test_gradients_by_embeddings_and_class_weights_are_those_of_one_piece(results, count, case):
    actual, whole = results[count, "step_values", case], expected(count, case)
    names = [name for name in ("by_embeddings", "by_kernel", "by_bias") if name in whole]
    for name in names:
        assert np.abs(whole[name]).max() > 1e-3
        assert_close(actual[name], whole[name], name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "case"),
    [case for case in ALL_CASES if case.values[1].startswith(("sphereface2", "uniface"))],
)
def test_every_replica_has_the_whole_gradient_by_small_weights(results, count, case):
    actual, whole = results[count, "step_values", case], expected(count, case)
    assert {name for name in whole if "small" in name} == {"by_small_0"}
    assert actual["by_small_0"].shape == (count,)
    for on_replica in actual["by_small_0"]:
        assert_close(on_replica, whole["by_small_0"])


@pytest.mark.slow
@pytest.mark.parametrize(("count", "case"), ALL_CASES)
def test_start_weights_are_those_of_the_head_in_one_piece(results, count, case):
    start = results[count, "step_values", case]["start_kernel"]
    np.testing.assert_array_equal(start, expected(count, case)["start_kernel"])


@functools.cache
def expected_updates(rule, name):
    """Kernel and bias after the updates of a Keras optimizer, in one piece on one device."""
    kind, settings = process.UPDATED[name]
    head = whole_head(kind, **settings)
    weights = [*head.kernels, *head.biases]
    optimizer = (
        keras.optimizers.SGD(process.RATE, momentum=process.MOMENTUM, **plain_update())
        if rule == "sgd"
        else keras.optimizers.Adam(process.RATE, **plain_update())
    )
    optimizer.build(weights)
    stops = np.cumsum(head.block_sizes())[:-1]
    for i in range(process.UPDATES):
        by_weights = [
            tf.constant(block)
            for name in (["kernel", "bias"] if head.biases else ["kernel"])
            for block in np.split(process.update_gradients(name, i), stops, axis=-1)
        ]
        optimizer.apply_gradients(zip(by_weights, weights, strict=True))
    return {
        "kernel": joined(head.kernels),
        **({"bias": joined(head.biases)} if head.biases else {}),
    }


@pytest.mark.slow
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize(("rule", "name"), UPDATES)
def test_updates_are_those_of_the_optimizer_of_keras(results, count, rule, name):
    actual, whole = results[count, "updated", rule, name], expected_updates(rule, name)
    assert set(actual) >= set(whole)
    for weight, values in whole.items():
        np.testing.assert_allclose(actual[weight], values, rtol=0, atol=1e-6, err_msg=weight)


def test_one_replica_is_updated_as_well():
    actual, whole = process.updated(1, "adam", "projected"), expected_updates("adam", "projected")
    np.testing.assert_allclose(actual["kernel"], whole["kernel"], rtol=0, atol=1e-6)


def assert_saved_values(arrays):
    expected = process.saved_values()
    assert set(arrays) == set(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(arrays[name], values, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("writers", "readers"),
    [(2, 1), *(pytest.param(*pair, marks=pytest.mark.full) for pair in ((4, 2), (4, 1), (2, 4)))],
)
def test_another_number_of_replicas_reads_the_same_values(results, folders, writers, readers):
    folder = str(folders[writers])
    assert results[writers, "saved", folder] == {}
    one = readers == 1
    assert_saved_values(
        process.restored(1, folder) if one else results[readers, "restored", folder]
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "starts"),
    [
        (2, [0, 2, 4, 6, 8, 10, 11]),
        pytest.param(4, [0, 2, 3, 5, 6, 8, 9, 10, 11], marks=pytest.mark.full),
    ],
)
def test_each_file_holds_the_classes_of_its_name(results, folders, count, starts):
    assert results[count, "saved", str(folders[count])] == {}
    paths = sorted(folders[count].iterdir())
    for path, (start, stop) in zip(paths, itertools.pairwise(starts), strict=True):
        assert path.name == f"classes-{start:09d}-{stop:09d}.npz"
        with np.load(path) as arrays:
            for name, values in process.saved_values().items():
                np.testing.assert_array_equal(arrays[name], values[..., start:stop])


@pytest.fixture
def folder(tmp_path):
    """The files that one replica saved: 6 files of 2 classes or 1."""
    process.saved(1, str(tmp_path / "saved"))
    return tmp_path / "saved"


@pytest.fixture
def sharded():
    """A head that can read them."""
    return process.make_sharded(1, **process.SAVED)


def third_file(folder):
    return folder / "classes-000000004-000000006.npz"


def test_strange_files_beside_the_classes_do_not_matter(folder):
    (folder / "weights.index").write_bytes(b"of the checkpoint")
    (folder / "classes-000000000-000000011.npz.partial").write_bytes(b"of another")
    assert_saved_values(process.restored(1, str(folder)))


def test_missing_classes_are_named(folder, sharded):
    third_file(folder).unlink()
    with pytest.raises(ValueError, match="lacks some of the classes 4 to 5"):
        sharded.restore(folder)


def test_a_folder_without_classes_is_refused(sharded, tmp_path):
    with pytest.raises(ValueError, match="lacks some of the classes 0 to 1"):
        sharded.restore(tmp_path)
    with pytest.raises(OSError, match="nowhere"):
        sharded.restore(tmp_path / "nowhere")


@pytest.mark.parametrize(("kind", "num_slots"), [("softmax", 1), ("asoftmax", 2)])
def test_the_variables_of_another_optimizer_or_head_are_refused(folder, kind, num_slots):
    sharded = process.make_sharded(1, kind, num_slots, **process.BLOCKS)
    with pytest.raises(ValueError, match=r"Received: .*'bias', 'bias_slot0'.*'kernel_slot1'"):
        sharded.restore(folder)


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lambda content: content[: len(content) // 2], zipfile.BadZipFile),
        (lambda content: content[:200] + bytes(8) + content[208:], zipfile.BadZipFile),
        (lambda content: content[:2], ValueError),
        (lambda content: b"", EOFError),
    ],
    ids=["cut short", "numbers changed", "two bytes left", "empty"],
)
def test_a_damaged_file_is_an_error_that_checkpoints_know(folder, sharded, damage, error):
    path = third_file(folder)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert path.read_bytes() != whole
    assert issubclass(error, DAMAGE)
    with pytest.raises(error):
        sharded.restore(folder)


@pytest.mark.slow
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10**6), change=st.integers(1, 255))
def test_a_changed_byte_gives_an_error_or_the_same_values(folder, sharded, place, change):
    path = third_file(folder)
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[place % len(whole)] ^= change
    path.write_bytes(changed)
    try:
        sharded.restore(folder)
    except DAMAGE:
        return
    finally:
        path.write_bytes(whole)
    assert_saved_values(process.contents(sharded))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"block_size": 1},
            "`block_size` of a class-sharded head must be >= 2. Received: block_size=1",
        ),
        ({"kernel_regularizer": "l2"}, "A class-sharded head cannot have a `kernel_regularizer`"),
    ],
)
def test_heads_that_cannot_be_sharded_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        process.make_sharded(1, "asoftmax", **settings)


@pytest.mark.full
def test_fewer_classes_than_replicas_are_refused(results):
    message = results[4, "refused", 3]["message"].item()
    assert message == (
        "`num_classes` must be at least 4, one class for each replica. Received: num_classes=3"
    )


def test_blocks_are_no_larger_than_the_block_size():
    assert process.make_sharded(1, "asoftmax", block_size=4).blocks(0) == [(0, 4), (4, 8), (8, 11)]
    assert process.make_sharded(1, "asoftmax").blocks(0) == [(0, 11)]


@pytest.mark.slow
@pytest.mark.parametrize("count", COUNTS)
def test_a_sample_has_the_target_classes_and_a_share_of_each_shard(results, count):
    learnt = np.any(results[count, "sampled"]["by_kernel"] != 0, axis=1)  # (S, C)
    assert learnt[:, process.SAMPLED_LABELS].all()
    width = process.SAMPLED["num_classes"] // count
    share = max(math.ceil(process.SAMPLED["sample_rate"] * width), len(process.SAMPLED_LABELS) + 1)
    np.testing.assert_array_equal(learnt.reshape(-1, count, width).sum(axis=2), share)
    # In the end every class has been drawn.
    assert learnt.any(axis=0).all()


@pytest.mark.slow
@pytest.mark.parametrize("count", COUNTS)
def test_each_shard_and_each_step_draws_other_classes(results, count):
    learnt = np.any(results[count, "sampled"]["by_kernel"] != 0, axis=1)
    shards = learnt.reshape(len(learnt), count, -1)
    assert np.mean(np.all(shards[:, 0] == shards[:, 1], axis=1)) < 0.1
    assert np.mean(np.all(learnt[1:] == learnt[:-1], axis=1)) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("count", COUNTS)
def test_sampled_losses_and_gradients_are_right_on_average(results, count):
    head = whole_head("sphereface2", **process.SAMPLED)
    embeddings, labels = process.sampled_batch()
    with tf.GradientTape() as tape:
        losses = head.compute_losses(tf.constant(embeddings), labels, step=1).losses
        loss = process.mean_loss(losses)
    whole = {"losses": losses, "by_kernel": tape.gradient(loss, head.kernels[0])}
    for name, value in whole.items():
        drawn = results[count, "sampled"][name]
        if name == "by_kernel":  # those of one class alone are too seldom to have a known error
            drawn, value = drawn.sum(axis=2), tf.reduce_sum(value, axis=1)
        assert np.isfinite(drawn).all()
        error = drawn.std(axis=0) / math.sqrt(process.SAMPLINGS)
        assert np.all(np.abs(drawn.mean(axis=0) - value) <= 5 * error + 1e-12), name


def of_many(results, count, job):
    return getattr(process, job)(1) if count == 1 else results[count, job]


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, *COUNTS])
def test_each_replica_holds_its_share_of_the_classes_only(results, count):
    held = of_many(results, count, "held")
    # Kernel and one slot, of float32; the largest shard has one class more than its share.
    of_a_class = 2 * process.MANY_SIZE * 4
    assert held["bytes"].tolist() == [math.ceil(process.MANY / count) * of_a_class] * count
    assert held["reported"] == held["bytes"].sum()
    places = [[f"/job:localhost/replica:0/task:0/device:CPU:{i}"] for i in range(count)]
    assert held["devices"].tolist() == places


@pytest.mark.slow
@pytest.mark.parametrize("count", COUNTS)
def test_no_tensor_of_a_step_has_more_classes_than_a_shard(results, count):
    assert results[count, "widest"]["size"] == math.ceil(process.MANY / count)


@pytest.mark.parametrize(
    ("num_classes", "settings", "expected"),
    [
        (1000, {}, 1000),
        (1_000_000, {}, DEFAULT_BLOCK_SIZE),
        # Ten times as wide, for as many logits.
        (1_000_000, {"sample_rate": 0.1}, 10 * DEFAULT_BLOCK_SIZE),
        (1_000_000, {"sample_rate": 0.001}, 1_000_000),
        (6_400_000, {}, 100_000),
        (64_000_000, {"sample_rate": 0.1}, 1_000_000),
        (6_400_000, {"block_size": 5}, 5),
    ],
)
def test_large_shards_have_few_blocks(num_classes, settings, expected):
    head = ASoftmax(num_classes, **settings)
    assert sharded_block_size(head, num_classes) == expected


def test_a_sample_of_wide_blocks_is_the_share_that_was_asked_for():
    # With 4,096 samples, of each block 4,097 classes or more: a quarter of small ones.
    head = ASoftmax(1_562_500, sample_rate=0.1)
    plan = HeadPlan(head.num_classes, sample_rate=0.1, sharded=True)
    small = dataclasses.replace(plan, block_size=DEFAULT_BLOCK_SIZE)
    wide = dataclasses.replace(plan, block_size=sharded_block_size(head, head.num_classes))
    assert small.classes_compared(4096, 1) / head.num_classes == pytest.approx(0.25, abs=0.01)
    assert wide.classes_compared(4096, 1) / head.num_classes == pytest.approx(0.1, abs=0.01)


def test_wide_blocks_are_saved_in_small_files(tmp_path, monkeypatch):
    monkeypatch.setattr(sharded_module, "DEFAULT_BLOCK_SIZE", 4)
    sharded = process.make_sharded(1, "asoftmax")
    assert sharded.blocks(0) == [(0, 11)]
    before = process.contents(sharded)
    sharded.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "classes-000000000-000000004.npz",
        "classes-000000004-000000008.npz",
        "classes-000000008-000000011.npz",
    ]
    process.fill(sharded, "kernel", np.zeros_like(before["kernel"]))
    sharded.restore(tmp_path)
    after = process.contents(sharded)
    assert before.keys() == after.keys()
    for name, values in before.items():
        np.testing.assert_array_equal(values, after[name])
