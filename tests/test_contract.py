"""The contract of every head, loss, layer and callback, on both stacks.

The tests of each check its values; these tests check what Keras requires of all: build, call, fit,
save and load in a fresh process, configurations, eager and compiled calls, half precision, and two
replicas.
"""

import dataclasses
import inspect
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface import callbacks, heads, layers, losses
from keras_sphereface.config.choices import HEADS
from keras_sphereface.functional.annealing import Annealing
from tests.conftest import ROOT
from tests.helpers.contract_cases import (
    CASES,
    IMAGES,
    KINDS_OF_GLOBAL_BATCH,
    LOSSES,
    B,
    C,
    D,
    case_batch,
    fit,
    fit_images,
    head_model,
    image_model,
    loss_model,
    make_case,
    value_and_gradients,
)

EPOCHS = 8
POLICIES = ["mixed_bfloat16", "mixed_float16"]


def public_classes(package, base):
    members = (getattr(package, name) for name in package.__all__)
    return {member for member in members if inspect.isclass(member) and issubclass(member, base)}


def test_the_contract_walks_every_public_class():
    walked_heads = {type(make_case(case)) for case in CASES}
    assert public_classes(heads, heads.Head) - {heads.Head, heads.AngularHead} == walked_heads
    walked_losses = {type(make()) for make in LOSSES.values()}
    walked_losses |= {type(make_case(case).loss) for case in CASES}
    assert public_classes(losses, keras.losses.Loss) == walked_losses
    walked_layers = {heads.ASoftmax, type(image_model().layers[0])}
    assert public_classes(layers, keras.layers.Layer) == walked_layers
    walked_callbacks = {callbacks.ConvergenceGuard, callbacks.PairVerification}
    assert public_classes(callbacks, keras.callbacks.Callback) == walked_callbacks


def test_heads_that_need_the_global_batch_compare_images_or_keep_statistics_of_it():
    assert [
        *("curricularface", "elasticface-arc", "elasticface-cos", "adaface", "adacos"),
        *("softmax+contrastive", "softmax+center", "triplet", "triplet-hard"),
    ] == KINDS_OF_GLOBAL_BATCH


# Heads: settings and configurations.


@pytest.mark.parametrize("kind", HEADS)
def test_the_table_of_heads_lists_their_defaults(kind):
    head = heads.make_head(kind, C, name="head")
    config = head.get_config()
    for name, default in HEADS[kind].settings.items():
        assert config[name] == default, name
    assert set(Annealing._fields) <= HEADS[kind].settings.keys() or not hasattr(head, "annealing")
    assert HEADS[kind].has_class_weights == bool(head.block_sizes())


@pytest.mark.parametrize("kind", HEADS)
def test_every_setting_of_the_table_reaches_the_head(kind):
    others = {
        **{"block_size": 3, "sample_rate": 0.5, "kernel_norm": "projected", "m": 2, "scale": 9.0},
        **{"gradient": "detached", "embedding_norm": "free", "term_weight": 0.5, "base": 9.0},
        **{"gamma": 0.5, "power": 2.0, "lambda_min": 1.0, "margin_warmup_steps": 3},
        **{"num_centers": 2, "margin_std": 0.1, "m_max": 2.5, "norm_min": 1.0, "norm_max": 5.0},
    }
    settings = {name: others[name] for name in HEADS[kind].settings}
    settings["m"] = 1 if kind in ("sphereface2", "adaface", "circle", "uniface") else 2
    settings = {name: settings[name] for name in HEADS[kind].settings}
    config = heads.make_head(kind, C, **settings).get_config()
    assert {name: config[name] for name in settings} == settings


@pytest.mark.parametrize("case", CASES)
def test_a_head_comes_back_from_its_configuration(case):
    head = make_case(case, name="head")
    again = type(head).from_config(head.get_config())
    assert again.get_config() == head.get_config()
    loss = keras.losses.deserialize(keras.losses.serialize(head.loss))
    assert type(loss) is type(head.loss)
    assert loss.get_config() == head.loss.get_config()


# Heads: calls.


@pytest.mark.parametrize("case", CASES)
def test_a_head_has_the_shape_and_dtype_that_keras_expects(case):
    head = make_case(case)
    symbolic = head(keras.Input((D,)))
    outputs = head(case_batch()[0])
    assert tuple(head.compute_output_shape((None, D))) == tuple(symbolic.shape)
    assert outputs.shape[1:] == symbolic.shape[1:]
    assert outputs.dtype == tf.float32
    assert int(head.step.numpy()) == 0


@pytest.mark.parametrize("case", CASES)
def test_a_training_call_counts_a_step_and_others_do_not(case):
    head = make_case(case)
    for training, steps in ((False, 0), (True, 1), (False, 1), (True, 2)):
        head(case_batch()[0], training=training)
        assert int(head.step.numpy()) == steps


def built(case, **more):
    head = make_case(case, **more)
    head.build((None, D))
    return head


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_graph_gives_what_eager_calls_give(case):
    embeddings, labels = map(tf.constant, case_batch())
    eager = value_and_gradients(built(case), embeddings, labels)
    head = built(case)
    graph = tf.function(lambda x, y: value_and_gradients(head, x, y))(embeddings, labels)
    for ours, theirs in zip(graph, eager, strict=True):
        assert np.isfinite(theirs).all()
        # A graph may add in another order, and rounds by the largest number of a sum.
        largest = max(1.0, np.abs(theirs).max())
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6 * largest)


@pytest.mark.slow
@pytest.mark.parametrize("num_classes", [C, pytest.param(2, marks=pytest.mark.full)])
@pytest.mark.parametrize("case", CASES)
def test_xla_gives_what_a_graph_gives_with_two_classes_too(case, num_classes):
    if num_classes == 2 and case == "adacos":
        with pytest.raises(ValueError, match="at least 3 classes"):
            make_case(case, num_classes=2)
        return
    embeddings, labels = map(tf.constant, case_batch(num_classes))
    results = []
    # From one seed XLA draws other numbers than TensorFlow without it.
    more = {"margin_std": 0.0} if "elastic" in case else {}
    for jit in (False, True):
        head = built(case, num_classes=num_classes, **more)

        def step(x, y, head=head):
            return value_and_gradients(head, x, y)

        results.append(tf.function(step, jit_compile=jit)(embeddings, labels))
    for ours, theirs in zip(*results, strict=True):
        assert np.isfinite(theirs).all()
        largest = max(1.0, np.abs(theirs).max())
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-5 * largest)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("case", CASES)
def test_under_a_mixed_policy_a_head_is_float32(case, policy):
    """The only rounding is that of the embeddings: the loss equals float32's on rounded ones."""
    half, (embeddings, labels) = policy.removeprefix("mixed_"), case_batch()
    rounded = tf.cast(embeddings, half)
    keras.mixed_precision.set_global_policy(policy)
    try:
        head = built(case)
        losses_, by_embeddings, *others = value_and_gradients(head, rounded, labels)
        assert head(rounded).dtype == losses_.dtype == tf.float32
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert by_embeddings.dtype == half
    full = value_and_gradients(built(case), tf.cast(rounded, tf.float32), labels)
    np.testing.assert_allclose(losses_, full[0], rtol=1e-6)
    for ours, theirs in zip(others, full[2:], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    tolerance = 1e-2 if half == "bfloat16" else 1e-3
    np.testing.assert_allclose(
        tf.cast(by_embeddings, tf.float32), full[1], rtol=tolerance, atol=tolerance
    )


# Losses on distances and embeddings.


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_comes_back_from_its_configuration(name):
    loss = LOSSES[name]()
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()
    for argument in ("margin", "soft", "distance_metric"):
        assert getattr(again, argument, None) == getattr(loss, argument, None)


@pytest.mark.slow
@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("name", LOSSES)
def test_a_compiled_loss_gives_what_eager_calls_give(name, jit):
    model, inputs, targets = loss_model(name)
    outputs, loss = model(inputs), LOSSES[name]()
    compiled = tf.function(loss.call, jit_compile=jit)(tf.constant(targets), outputs)
    np.testing.assert_allclose(compiled, loss.call(tf.constant(targets), outputs), rtol=1e-5)


# Layers on images.


@pytest.mark.parametrize(
    ("policy", "dtype"), [("mixed_bfloat16", tf.bfloat16), ("float64", tf.float64)]
)
def test_the_preprocessing_has_the_dtype_of_its_policy(policy, dtype):
    layer = layers.FacePreprocessing(shift=2.0, dtype=policy)
    assert layer(IMAGES, training=True).dtype == dtype
    assert layer.step.dtype in ("int64", tf.int64)


def test_the_preprocessing_comes_back_from_its_configuration():
    layer = image_model().layers[0]
    assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()


# Fit, saving, a fresh process, and two replicas.


@dataclasses.dataclass(frozen=True)
class Saved:
    """A model that was trained and saved, and the losses of its epochs."""

    model: keras.Model
    losses: list[float]
    path: str
    inputs: np.ndarray


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """Every head, loss and layer in a model that was fitted and saved, by name."""
    folder, models = tmp_path_factory.mktemp("contract"), {}

    def add(name, model, history, inputs):
        path = folder / f"{name}.keras"
        model.save(path)
        models[name] = Saved(model, history, str(path), inputs)

    for case in CASES:
        blocks = {"block_size": 3} if HEADS[CASES[case][0]].has_class_weights else {}
        model = head_model(case, **blocks)
        add(case, model, fit(model, EPOCHS), case_batch()[0])
    for name in LOSSES:
        model, inputs, targets = loss_model(name)
        history = model.fit(inputs, targets, batch_size=B, epochs=2, verbose=0).history["loss"]
        add(f"loss {name}", model, history, inputs)
    model = image_model()
    fit_images(model, epochs=2)
    add("preprocessing", model, [], IMAGES)
    np.savez(folder / "inputs.npz", **{name: s.inputs for name, s in models.items()})
    return folder, models


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_head_learns_in_fit_and_counts_its_steps(saved, case):
    model, history = saved[1][case].model, saved[1][case].losses
    assert history[-1] < history[0]
    assert int(model.layers[-1].step.numpy()) == EPOCHS == int(model.optimizer.iterations.numpy())


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_saved_head_continues_as_one_that_was_not_saved(saved, case):
    models = [keras.models.load_model(saved[1][case].path) for _ in range(2)]
    expected = saved[1][case].model.get_weights()
    for ours, theirs in zip(models[0].get_weights(), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert models[0].layers[-1].get_config() == saved[1][case].model.layers[-1].get_config()
    # A copy in memory would share its steps with the model of the other tests.
    models[1].set_weights(expected)
    for model in models:
        fit(model, epochs=2)
        assert int(model.layers[-1].step.numpy()) == EPOCHS + 2
    for ours, theirs in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("name", LOSSES)
def test_a_saved_loss_gives_the_same_numbers(saved, name):
    entry = saved[1][f"loss {name}"]
    again = keras.models.load_model(entry.path)
    assert again.loss.get_config() == entry.model.loss.get_config()
    _, inputs, targets = loss_model(name)
    values = [m.evaluate(inputs, targets, batch_size=B, verbose=0) for m in (entry.model, again)]
    assert values[0] == pytest.approx(values[1], rel=1e-6)


@pytest.mark.slow
def test_a_saved_preprocessing_continues_with_the_same_new_draws(saved):
    entry = saved[1]["preprocessing"]
    layer, again = (m.layers[0] for m in (entry.model, keras.models.load_model(entry.path)))
    assert int(again.step.numpy()) == int(layer.step.numpy()) == 2
    draws = [one(IMAGES, training=True).numpy() for one in (layer, again)]
    np.testing.assert_array_equal(*draws)


@pytest.fixture(scope="session")
def fresh_process(saved):
    """Arrays of a process that loads all saved models, and fits on one device and on two."""
    folder, _ = saved
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.contract_process", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(np.load(folder / "predictions.npz")), dict(np.load(folder / "replicas.npz"))


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CASES, *(f"loss {name}" for name in LOSSES), "preprocessing"])
def test_a_file_loads_in_a_fresh_process_without_custom_objects(saved, fresh_process, name):
    predictions, entry = fresh_process[0], saved[1][name]
    expected = entry.model.predict(entry.inputs, verbose=0)
    np.testing.assert_allclose(predictions[name], expected, rtol=1e-6, atol=1e-6)
    steps = {"preprocessing": 2}.get(name, -1 if name.startswith("loss") else EPOCHS)
    assert predictions[f"{name} step"] == steps


def assert_equal_on_two_devices(arrays, prefix, atol):
    one = {name[2:]: value for name, value in arrays.items() if name.startswith(f"1 {prefix}")}
    assert one
    for name, value in one.items():
        np.testing.assert_allclose(arrays[f"2 {name}"], value, atol=atol, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if "sampled" not in case])
def test_two_replicas_train_as_one_device_and_count_each_step_once(fresh_process, case):
    assert_equal_on_two_devices(fresh_process[1], f"fit {case} ", atol=2e-6)
    for count in (1, 2):
        assert fresh_process[1][f"{count} steps {case}"] == 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS_OF_GLOBAL_BATCH)
def test_replicas_with_other_numbers_of_rows_have_the_loss_of_the_global_batch(fresh_process, kind):
    assert_equal_on_two_devices(fresh_process[1], f"uneven {kind} ", atol=1e-12)
    assert np.abs(fresh_process[1][f"1 uneven {kind} 3"]).max() > 0.001


@pytest.mark.slow
def test_a_classifier_trains_on_two_replicas_as_on_one_device(fresh_process):
    assert_equal_on_two_devices(fresh_process[1], "classifier ", atol=1e-4)
    assert len(fresh_process[1]["1 classifier annealing_lambda"]) == 3


@pytest.mark.slow
def test_replicas_augment_apart_and_count_each_step_once(fresh_process):
    for count in (1, 2):
        assert fresh_process[1][f"{count} steps preprocessing"] == 3
        assert fresh_process[1][f"{count} different draws"] == 2 * count


# Callbacks.


@pytest.mark.slow
@pytest.mark.parametrize("eager", [False, True], ids=["graph", "eager"])
def test_the_guard_leaves_a_training_as_it_is(eager):
    weights = []
    for guards in ([], [callbacks.ConvergenceGuard(patience=2)]):
        model = head_model("asoftmax", total_steps=3)
        model.compile(keras.optimizers.SGD(0.02), loss=model.layers[-1].loss, run_eagerly=eager)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model.fit(*case_batch(), batch_size=B, epochs=3, verbose=0, callbacks=guards)
        weights.append(model.get_weights())
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_verification_of_pairs_works_in_fit(faces):
    from keras_sphereface.evaluation import PairSources, load_pair_dataset
    from keras_sphereface.models import sphereface4

    paths = (str(faces / name) for name in ("pairs.txt", "images", "landmarks.txt"))
    dataset = load_pair_dataset(PairSources(*paths), (112, 96), folds=(1, 2))
    backbone, head = sphereface4(embedding_size=D, width=0.05, seed=0), make_case("asoftmax")
    model = keras.Sequential([backbone, head])
    model.compile("sgd", loss=head.loss)
    steps: list[int] = []
    callback = callbacks.PairVerification(
        dataset, backbone, every_steps=2, on_result=lambda step, *_: steps.append(step)
    )
    images = np.zeros((4, 112, 96, 3), np.float32)
    model.fit(images, np.arange(4), batch_size=1, verbose=0, callbacks=[callback])
    assert steps == [2, 4]
