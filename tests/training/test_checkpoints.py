"""Checkpoints: the newest that can be read is restored, whatever happened to the others."""

import contextlib
import errno
import os
import resource
import shutil
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface.distribute.strategy import make_strategy
from keras_sphereface.heads.registry import make_head
from keras_sphereface.heads.sharded import ShardedHead
from keras_sphereface.training.checkpoints import Checkpoints, is_damage
from keras_sphereface.utils.atomic import partial_folder
from tests.helpers.training_process import CONTEXT

DATA, INDEX = "weights.data-00000-of-00001", "weights.index"
CLASSES = "classes-000000000-000000007.npz"


class Run(NamedTuple):
    """Weights that follow from the step at which they were saved, and their checkpoints."""

    checkpoints: Checkpoints
    weights: list[tf.Variable]

    def fill(self, step):
        rng = np.random.default_rng(step)
        for weight in self.weights:
            weight.assign(rng.normal(size=weight.shape))

    def save(self, *steps):
        for step in steps:
            self.fill(step)
            self.checkpoints.save(step)

    def holds(self, step):
        """Return whether all weights are, to the last bit, those that `save` kept at `step`."""
        values = [weight.numpy() for weight in self.weights]
        self.fill(step)
        return all(map(np.array_equal, values, [weight.numpy() for weight in self.weights]))

    def restore(self):
        self.fill(999)
        return self.checkpoints.restore()


def make_run(folder, kept=2, num_classes=0, size=(30, 20)):
    """With `num_classes`, those of a head are sharded over the devices, with a slot each."""
    strategy, sharded_head = make_strategy(), None
    with strategy.scope():
        weights = [tf.Variable(tf.zeros(size, tf.float64))]
        if num_classes:
            initializer = keras.initializers.LecunUniform(seed=0)
            head = make_head("asoftmax", num_classes, kernel_initializer=initializer)
            sharded_head = ShardedHead(head, 5, 1)
    checkpoints = Checkpoints(folder, kept, strategy, {"first": weights[0]}, sharded_head)
    if sharded_head:
        weights += [
            copy
            for blocks in sharded_head.variables.values()
            for block in blocks
            for copy in strategy.experimental_local_results(block)
        ]
    return Run(checkpoints, weights)


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "checkpoints")


@pytest.fixture
def sharded_run(tmp_path):
    return make_run(tmp_path / "checkpoints", num_classes=7)


def names(run):
    return sorted(path.name for path in run.checkpoints.folder.iterdir())


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def flip(path, place=None):
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if place is None else place] ^= 0xFF
    path.write_bytes(content)


def flip_end(path):
    flip(path, -1)


def test_the_newest_is_restored(run):
    run.save(2, 4)
    assert run.restore() == 4
    assert run.holds(4)


def test_the_newest_is_that_of_the_highest_step_however_long_its_name(run):
    run.save(99_999_999, 100_000_000)
    assert run.checkpoints.steps() == [99_999_999, 100_000_000]
    assert run.restore() == 100_000_000
    assert run.holds(100_000_000)


def test_sharded_classes_are_restored(sharded_run):
    sharded_run.save(2, 4)
    assert CLASSES in {path.name for path in sharded_run.checkpoints.path(4).iterdir()}
    assert sharded_run.restore() == 4
    assert sharded_run.holds(4)


@pytest.mark.parametrize("block_size", [None, 3])
def test_class_weights_are_kept_with_their_head(tmp_path, block_size):
    """This test has no optimizer, which would keep them too."""
    initializer = keras.initializers.LecunUniform(seed=0)
    heads = [
        make_head("asoftmax", 7, block_size=block_size, kernel_initializer=initializer)
        for _ in range(2)
    ]
    for head in heads:
        head.build((None, 5))
    heads[0].set_weights([np.full(weight.shape, 3) for weight in heads[0].get_weights()])
    Checkpoints(tmp_path, 2, make_strategy(), {"head": heads[0]}).save(1)
    Checkpoints(tmp_path, 2, make_strategy(), {"head": heads[1]}).restore()
    for weight in heads[1].get_weights():
        np.testing.assert_array_equal(weight, 3)


def test_without_a_checkpoint_nothing_is_restored(run):
    assert run.restore() is None
    assert run.holds(999)
    run.checkpoints.folder.mkdir()
    assert run.restore() is None


@pytest.mark.parametrize("kept", [1, 3])
def test_only_the_newest_stay(tmp_path, kept):
    run = make_run(tmp_path, kept)
    run.save(0, 5, 10, 15, 20)
    assert run.checkpoints.steps() == [0, 5, 10, 15, 20][-kept:]
    assert names(run) == [f"step-{step:08d}" for step in run.checkpoints.steps()]


def test_a_step_that_is_saved_again_takes_the_place_of_the_first(run):
    run.save(1)
    run.fill(77)
    run.checkpoints.save(1)
    assert run.restore() == 1
    assert run.holds(77)
    assert names(run) == ["step-00000001"]


def test_a_save_that_fails_leaves_nothing(run, monkeypatch):
    run.save(1)

    def write(path):
        Path(f"{path}.index").write_bytes(b"cut")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(run.checkpoints.checkpoint, "write", write)
    with pytest.raises(OSError, match="No space left"):
        run.checkpoints.save(2)
    assert names(run) == ["step-00000001"]


def test_other_things_in_the_folder_are_left_alone(run):
    run.save(1)
    others = ["notes.txt", "step-", "step-00000009.damaged", "xstep-00000009", "step-9.old"]
    for name in others:
        (run.checkpoints.folder / name).mkdir()
    run.save(2, 3)
    assert run.restore() == 3
    assert names(run) == sorted([*others, "step-00000002", "step-00000003"])


DAMAGES = [
    (cut, DATA),
    (empty, DATA),
    (flip, DATA),
    (flip_end, DATA),
    (Path.unlink, DATA),
    (cut, INDEX),
    (empty, INDEX),
    (flip, INDEX),
    (flip_end, INDEX),
    (Path.unlink, INDEX),
]
SHARD_DAMAGES = [
    (cut, CLASSES),
    (empty, CLASSES),
    (flip, CLASSES),
    (Path.unlink, CLASSES),
    (cut, DATA),
]


def assert_the_one_before_is_restored(run, capsys):
    assert run.restore() == 2
    assert run.holds(2)
    logged = capsys.readouterr().err
    assert "The checkpoint of step 4 cannot be read: " in logged
    assert "It is now step-00000004.damaged; the checkpoint before it is restored." in logged
    assert names(run) == ["step-00000002", "step-00000004.damaged"]


@pytest.mark.parametrize(("damage", "name"), DAMAGES)
def test_after_damage_the_one_before_is_restored(run, capsys, damage, name):
    run.save(2, 4)
    damage(run.checkpoints.path(4) / name)
    assert_the_one_before_is_restored(run, capsys)


@pytest.mark.parametrize(("damage", "name"), SHARD_DAMAGES)
def test_after_damage_to_classes_the_one_before_is_restored(sharded_run, capsys, damage, name):
    sharded_run.save(2, 4)
    damage(sharded_run.checkpoints.path(4) / name)
    assert_the_one_before_is_restored(sharded_run, capsys)


@contextlib.contextmanager
def no_more_open_files():
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with open(os.devnull) as file:
        resource.setrlimit(resource.RLIMIT_NOFILE, (file.fileno(), limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize("made", ["run", "sharded_run"])
def test_an_error_of_the_machine_is_not_taken_for_damage(made, request):
    run = request.getfixturevalue(made)
    run.save(2, 4)
    with pytest.raises((OSError, tf.errors.OpError)) as raised, no_more_open_files():
        run.restore()
    assert "Too many open files" in str(raised.value)
    assert names(run) == ["step-00000002", "step-00000004"]
    assert run.restore() == 4
    assert run.holds(4)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (tf.errors.DataLossError(None, None, "Checksum does not match"), True),
        (tf.errors.ResourceExhaustedError(None, None, "OOM"), False),
        (tf.errors.CancelledError(None, None, "stopped"), False),
        (RuntimeError("File is encrypted, password required for extraction"), True),
        (RuntimeError("CUDA out of memory"), False),
        (MemoryError(), False),
        (OSError("Failed to interpret file as a pickle"), True),
        (OSError(errno.EIO, "Input/output error"), False),
    ],
)
def test_damage_is_told_from_errors_of_the_machine(error, expected):
    assert is_damage(error) == expected


def test_of_an_empty_folder_the_one_before_is_restored(run, capsys):
    run.save(2, 4)
    shutil.rmtree(run.checkpoints.path(4))
    run.checkpoints.path(4).mkdir()
    assert_the_one_before_is_restored(run, capsys)


def test_a_checkpoint_of_fewer_classes_is_damage(sharded_run, tmp_path, capsys):
    sharded_run.save(2, 4)
    make_run(tmp_path / "other", num_classes=6).save(4)
    (sharded_run.checkpoints.path(4) / CLASSES).unlink()
    for path in (tmp_path / "other" / "step-00000004").glob("*.npz"):
        shutil.copy(path, sharded_run.checkpoints.path(4))
    assert_the_one_before_is_restored(sharded_run, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("stride", [7, pytest.param(1, marks=pytest.mark.full)])
def test_no_changed_byte_of_classes_stops_a_run_or_goes_unnoticed(sharded_run, capsys, stride):
    """A zip has checksums of its files, but not of its own headers."""
    sharded_run.save(2, 4)
    path, rng = sharded_run.checkpoints.path(4), np.random.default_rng(0)
    files = {file.name: file.read_bytes() for file in path.iterdir()}
    failed = []
    places = range(0, len(files[CLASSES]), stride)
    for place in places:
        changed = bytearray(files[CLASSES])
        changed[place] ^= int(rng.integers(1, 256))
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        for name, content in {**files, CLASSES: changed}.items():
            (path / name).write_bytes(content)
        try:
            step = sharded_run.restore()
            # Some bytes do not matter: those of dates, for example.
            failed += [] if step in (2, 4) and sharded_run.holds(step) else [(place, step)]
        except Exception as error:
            failed.append((place, repr(error)))
    assert failed == []
    assert capsys.readouterr().err.count("cannot be read") > len(places) / 2


def test_of_several_that_are_damaged_the_last_good_one_is_restored(tmp_path, capsys):
    run = make_run(tmp_path, kept=3)
    run.save(1, 2, 3)
    (run.checkpoints.path(3) / INDEX).unlink()
    flip(run.checkpoints.path(2) / DATA)
    assert run.restore() == 1
    assert run.holds(1)
    logged = capsys.readouterr().err
    assert [f"step {step} cannot be read" in logged for step in (1, 2, 3)] == [False, True, True]
    assert names(run) == ["step-00000001", "step-00000002.damaged", "step-00000003.damaged"]


def test_the_same_step_may_be_damaged_twice(run):
    run.save(1, 2)
    for _ in range(2):
        flip(run.checkpoints.path(2) / DATA)
        assert run.restore() == 1
        run.save(2)
    assert names(run) == ["step-00000001", "step-00000002", "step-00000002.damaged"]
    assert run.restore() == 2
    assert run.holds(2)


def test_when_all_are_damaged_it_is_an_error(run, capsys):
    run.save(2, 4)
    for step in (2, 4):
        (run.checkpoints.path(step) / INDEX).unlink()
    with pytest.raises(
        ValueError, match=r"None of the checkpoints in .* can be read; remove .*Received: "
    ):
        run.restore()
    logged = capsys.readouterr().err
    assert "The checkpoint of step 2 cannot be read" in logged
    assert "The checkpoint of step 4 cannot be read" in logged


def test_the_files_of_a_killed_save_are_removed(run):
    run.save(1)
    partial = partial_folder(run.checkpoints.path(2))
    shutil.copytree(run.checkpoints.path(1), partial)
    assert run.restore() == 1
    assert names(run) == ["step-00000001"]


def test_a_save_ignores_the_files_of_a_killed_save(run):
    partial = partial_folder(run.checkpoints.path(1))
    partial.mkdir(parents=True)
    (partial / "classes-000000000-000000099.npz").write_bytes(b"of another run")
    run.save(1)
    assert names(run) == ["step-00000001"]
    assert not list(run.checkpoints.path(1).glob("classes*"))


def replaced(run, step):
    """The name of a checkpoint while a new one takes its place."""
    path = run.checkpoints.path(step)
    return path.with_name(f".{path.name}.replaced")


def test_a_checkpoint_that_was_being_replaced_comes_back(run):
    run.save(1, 2)
    run.checkpoints.path(2).rename(replaced(run, 2))
    assert run.restore() == 2
    assert run.holds(2)
    assert names(run) == ["step-00000001", "step-00000002"]


def test_a_checkpoint_that_was_replaced_does_not_come_back(run):
    run.save(1)
    aside = run.checkpoints.path(1).rename(run.checkpoints.folder / "aside")
    run.fill(77)
    run.checkpoints.save(1)
    aside.rename(replaced(run, 1))
    assert run.restore() == 1
    assert run.holds(77)
    assert names(run) == ["step-00000001"]


def save_on_a_full_disk(folder, num_classes, rows):
    """In a separate process: end with the number of saves that are refused."""
    run = make_run(folder, num_classes=num_classes, size=(rows, 20))
    run.save(1, 2)
    # A limit on the size of files stands for the disk: writing fails in the same way.
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
    refused = 0
    for step in (3, 4):
        try:
            run.save(step)
        except (OSError, tf.errors.OpError):
            refused += 1
    os._exit(refused)


@pytest.mark.slow
@pytest.mark.parametrize(("num_classes", "rows"), [(0, 200), (1_000, 1)])
def test_a_save_that_fails_leaves_the_ones_before(tmp_path, num_classes, rows):
    """In the first case the data of TensorFlow are too large, in the second the classes."""
    arguments = (tmp_path, num_classes, rows)
    process = CONTEXT.Process(target=save_on_a_full_disk, args=arguments)
    process.start()
    process.join(200)
    assert process.exitcode == 2
    run = make_run(tmp_path, num_classes=num_classes, size=(rows, 20))
    assert run.checkpoints.steps() == [1, 2]
    assert run.restore() == 2
    assert run.holds(2)
    assert names(run) == ["step-00000001", "step-00000002"]
    flip(run.checkpoints.path(2) / DATA)
    assert run.restore() == 1
    assert run.holds(1)
    # There is space again.
    run.save(3)
    assert run.restore() == 3
