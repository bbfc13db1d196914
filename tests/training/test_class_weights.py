"""Class weights in files, and those that the next run keeps."""

import keras
import numpy as np
import pytest

from keras_sphereface.data import records
from keras_sphereface.distribute.strategy import make_strategy
from keras_sphereface.heads import make_head
from keras_sphereface.training.build import build_trainer
from keras_sphereface.training.checkpoints import Checkpoints
from keras_sphereface.training.class_weights import (
    keep_class_weights,
    read_class_weights,
    read_labels,
    save_class_weights,
)
from tests.helpers.small_training import small_config

D = 16


def kernel_of(trainer):
    """The class weights (D, C)."""
    if trainer.sharded_head:
        blocks = trainer.sharded_head.local_blocks()
        return np.concatenate([v["kernel"].numpy()[:, : b - a] for a, b, v in blocks], axis=-1)
    return np.concatenate([np.asarray(kernel) for kernel in trainer.head.kernels], axis=-1)


@pytest.fixture
def trainer(records_folder):
    def make(**settings):
        config = small_config(records_folder, "", **settings)
        return build_trainer(config, records.read_info(records_folder), make_strategy())

    return make


@pytest.mark.parametrize(
    "settings",
    [{}, {"block_size": 2}, {"head": "softmax"}, {"head": "softmax", "block_size": 2},
     {"head": "softmax+center"}, {"head": "sphereface2"}],
)  # fmt: skip
def test_a_file_holds_the_weights_of_all_classes(trainer, records_folder, tmp_path, settings):
    settings = {"gamma": None, **settings}
    one = trainer(**settings)
    if one.head.biases:
        for i, bias in enumerate(one.head.biases):
            bias.assign(np.arange(bias.shape[0], dtype="float32") + 10 * i)
    path = save_class_weights(tmp_path, one, tmp_path, str(records_folder))
    arrays = read_class_weights(path, D, 5)
    np.testing.assert_array_equal(arrays["kernel"], kernel_of(one))
    assert read_labels(tmp_path) == read_labels(records_folder)
    biases = [np.asarray(bias) for bias in one.head.biases]
    if biases:
        np.testing.assert_array_equal(arrays["bias"], np.concatenate(biases))
    else:
        assert "bias" not in arrays
    # As a user of Keras reads it.
    head = type(one.head).from_config(one.head.get_config())
    keras.Sequential([keras.Input((D,)), head]).load_weights(path)
    for read, written in zip(head.weights, one.head.weights, strict=True):
        np.testing.assert_array_equal(read, written)


def test_a_head_without_classes_leaves_no_file(trainer, records_folder, tmp_path):
    settings = {"head": "triplet", "gamma": None, "batch_size": 8}
    assert save_class_weights(tmp_path, trainer(**settings), tmp_path, str(records_folder)) is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("head", ["asoftmax", "softmax"])
def test_sharded_classes_are_joined(trainer, records_folder, tmp_path, head):
    settings = {"gamma": None} if head == "softmax" else {}
    one = trainer(head=head, shard_classes=True, block_size=2, **settings)
    checkpoints = Checkpoints(tmp_path, 1, one.strategy, {"head": one.head}, one.sharded_head)
    checkpoints.save(1)
    path = save_class_weights(tmp_path, one, checkpoints.path(1), str(records_folder))
    np.testing.assert_array_equal(read_class_weights(path, D, 5)["kernel"], kernel_of(one))


@pytest.fixture
def saved(tmp_path):
    """Class weights of 7 identities "p1" ... "p7": that of the first is (1, 1, ...), and so on."""
    head = make_head("asoftmax", 7, name="head")
    model = keras.Sequential([keras.Input((D,)), head])
    head.kernels[0].assign(np.tile(np.arange(1.0, 8.0), (D, 1)))
    model.save_weights(tmp_path / "head.weights.h5")
    return tmp_path / "head.weights.h5", {f"p{label + 1}": label for label in range(7)}


NOW = {"new1": 0, "p7": 1, "new2": 2, "p2": 3, "new3": 4}


@pytest.mark.parametrize(
    "settings", [{}, {"block_size": 2}, {"shard_classes": True, "block_size": 2}]
)
def test_identities_that_remain_keep_their_weights_by_name(trainer, saved, settings):
    one = trainer(**settings)
    before = kernel_of(one)
    kept = keep_class_weights(one, *saved, NOW)
    assert (kept.kept, kept.new, kept.left_out, kept.note) == (2, 3, 5, "")
    after = kernel_of(one)
    np.testing.assert_array_equal(after[:, 1], np.full(D, 7.0))
    np.testing.assert_array_equal(after[:, 3], np.full(D, 2.0))
    np.testing.assert_array_equal(after[:, [0, 2, 4]], before[:, [0, 2, 4]])


def test_weights_that_are_kept_at_unit_length_begin_so(trainer, saved):
    one = trainer(kernel_norm="projected")
    keep_class_weights(one, *saved, NOW)
    np.testing.assert_allclose(np.linalg.norm(kernel_of(one), axis=0), np.ones(5), rtol=1e-6)


def test_a_head_of_another_kind_keeps_them_too(trainer, saved):
    one = trainer(head="softmax", gamma=None)
    assert keep_class_weights(one, *saved, NOW).kept == 2
    np.testing.assert_array_equal(kernel_of(one)[:, 1], np.full(D, 7.0))


def test_why_nothing_is_kept_is_said(trainer, saved):
    path, labels = saved
    one = trainer()
    notes = {
        "no identity": (path, labels, {f"q{i}": i for i in range(5)}),
        "has no head.weights.h5": (None, labels, NOW),
        "the start has no labels.csv": (path, {}, NOW),
        "the records have no labels.csv": (path, labels, {}),
        "must hold class weights (16, 8)": (path, {**labels, "p8": 7}, NOW),
    }
    for words, arguments in notes.items():
        kept = keep_class_weights(one, *arguments)
        assert kept.kept == 0
        assert words in kept.note
    triplets = trainer(head="triplet", gamma=None, batch_size=8)
    assert "no class weights" in keep_class_weights(triplets, path, labels, NOW).note


@pytest.mark.parametrize(("size", "count"), [(8, 7), (D, 9)])
def test_a_file_of_another_size_is_refused(saved, size, count):
    with pytest.raises(ValueError, match=rf"\({size}, {count}\).*Received: arrays of \(16, 7\)"):
        read_class_weights(saved[0], size, count)


def test_a_file_that_is_no_weights_is_refused(tmp_path):
    (tmp_path / "head.weights.h5").write_text("no HDF5")
    with pytest.raises(ValueError, match="cannot be read"):
        read_class_weights(tmp_path / "head.weights.h5", D, 5)


@pytest.mark.parametrize("settings", [{}, {"block_size": 2}])
def test_all_centers_of_an_identity_are_kept(trainer, tmp_path, settings):
    head = make_head("subcenter-arcface", 7, name="head", num_centers=2)
    model = keras.Sequential([keras.Input((D,)), head])
    head.kernels[0].assign(np.tile(np.arange(1.0, 15.0), (D, 1)))
    model.save_weights(tmp_path / "head.weights.h5")
    labels = {f"p{label + 1}": label for label in range(7)}
    settings = {"head": "subcenter-arcface", "gamma": None, **settings}
    one = trainer(num_centers=2, **settings)
    assert keep_class_weights(one, tmp_path / "head.weights.h5", labels, NOW).kept == 2
    after = np.concatenate([np.array(kernel) for kernel in one.head.get_weights()[:-1]], axis=1)
    assert after[0, [2, 3, 6, 7]].tolist() == [13.0, 14.0, 3.0, 4.0]
    three = trainer(num_centers=3, **settings)
    kept = keep_class_weights(three, tmp_path / "head.weights.h5", labels, NOW)
    assert kept.kept == 0
    assert "must hold class weights (16, 21)" in kept.note
