"""Every head of the family: its loss and gradients by definition, and what all must do."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface import (
    ArcFace,
    ASoftmax,
    CosFace,
    NormFace,
    PlainSoftmax,
    SphereFace2,
    SphereFacePlus,
    SphereFaceR,
)
from keras_sphereface.heads import registry
from tests.functional.test_psi import slope
from tests.helpers.head_reference import caffe_coefficients, psi_by_definition

C, D, B = 7, 5, 24

HEADS = {
    "softmax": lambda **k: PlainSoftmax(C, **k),
    "normface": lambda **k: NormFace(C, scale=9.0, **k),
    "asoftmax": lambda **k: ASoftmax(C, m=3, base=2.0, gamma=0.0, **k),
    "asoftmax m 1": lambda **k: ASoftmax(C, m=1, base=2.0, gamma=0.0, **k),
    "asoftmax m 4": lambda **k: ASoftmax(C, m=4, base=2.0, gamma=0.0, **k),
    "asoftmax caffe": lambda **k: ASoftmax(C, base=2.0, gamma=0.0, gradient="caffe", **k),
    "asoftmax detached": lambda **k: ASoftmax(C, base=2.0, gamma=0.0, gradient="detached", **k),
    "sphereface+": lambda **k: SphereFacePlus(C, base=2.0, gamma=0.0, energy_weight=0.5, **k),
    "sphereface-r v1 hard": lambda **k: SphereFaceR(C, scale=9.0, **k),
    "sphereface-r v1 free": lambda **k: SphereFaceR(C, embedding_norm="free", **k),
    "sphereface-r v1 exact": lambda **k: SphereFaceR(C, scale=9.0, gradient="exact", **k),
    "sphereface-r v2 soft": lambda **k: SphereFaceR(
        C, version="v2", embedding_norm="soft", scale=9.0, norm_weight=0.1, **k
    ),
    "sphereface2": lambda **k: SphereFace2(C, **k),
    "cosface": lambda **k: CosFace(C, scale=9.1, **k),
    "arcface": lambda **k: ArcFace(C, scale=9.0, **k),
}
# The others have a gradient that is not the slope of their loss, on purpose.
EXACT = [
    *("softmax", "normface", "asoftmax", "asoftmax m 1", "asoftmax m 4", "sphereface+"),
    *("sphereface-r v1 exact",),
    *("sphereface2", "cosface", "arcface"),
]


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, C - 1, B)  # the last class is missing
    embeddings = rng.normal(size=(B, D)) + 2 * np.eye(C, D)[labels]
    return embeddings, labels


def built(name, **kwargs):
    keras.utils.set_random_seed(1)
    head = HEADS[name](**kwargs)
    head.build((None, D))
    if head.biases:
        head.biases[0].assign(np.linspace(-1, 1, int(head.biases[0].shape[0])))
    return head


def softmax_loss(target, negatives):
    return np.log(np.exp(target) + np.sum(np.exp(negatives))) - target


def loss_by_definition(name, x, kernel, label, bias):
    """The loss of one sample as its paper has it, from angles, in float64."""
    units = kernel / np.sqrt(np.sum(kernel**2, axis=0))
    norm = np.sqrt(np.sum(x**2))
    theta = np.arccos(np.clip(x @ units / norm, -1, 1))
    target, negatives = theta[label], np.delete(theta, label)
    if name == "softmax":
        z = x @ kernel + bias
        return softmax_loss(z[label], np.delete(z, label))
    if name == "normface":
        return softmax_loss(9 * np.cos(target), 9 * np.cos(negatives))
    if name == "cosface":
        return softmax_loss(9.1 * (np.cos(target) - 0.35), 9.1 * np.cos(negatives))
    if name == "arcface":
        beyond = np.cos(target) - 0.5 * np.sin(0.5)
        rotated = np.cos(target + 0.5) if target < np.pi - 0.5 else beyond
        return softmax_loss(9 * rotated, 9 * np.cos(negatives))
    if name.startswith("sphereface-r v1"):
        s, weight = (norm, 1.0) if "free" in name else (9.0, 30.0 / 9.0)
        return weight * softmax_loss(s * np.cos(min(1.5 * target, np.pi)), s * np.cos(negatives))
    if name.startswith("sphereface-r v2"):
        loss = softmax_loss(norm * np.cos(target), norm * np.cos(negatives / 1.5))
        return 30.0 / 9.0 * loss + 0.1 * (norm - 9.0) ** 2
    if name == "sphereface2":

        def g(z):
            return 2 * ((z + 1) / 2) ** 3 - 1

        positive = 40 * (g(np.cos(target)) - 0.4) + bias
        negative = 40 * (g(np.cos(negatives)) + 0.4) + bias
        return (
            0.7 / 40 * np.log(1 + np.exp(-positive)) + 0.3 / 40 * np.log(1 + np.exp(negative)).sum()
        )
    m = {"asoftmax": 3, "asoftmax m 1": 1}.get(name, 4)
    # base 2 and gamma 0 leave lambda at lambda_min = 5.
    logit = norm * (5 * np.cos(target) + psi_by_definition(target, m)) / 6
    loss = softmax_loss(logit, norm * np.cos(negatives))
    if name == "sphereface+":
        angles = np.arccos((units.T @ units)[np.triu_indices(C, 1)])
        loss += 0.5 * np.mean(angles**-2)
    return loss


def losses_by_definition(name, embeddings, kernel, labels, bias):
    return np.array(
        [
            loss_by_definition(name, x, kernel, label, bias)
            for x, label in zip(embeddings, labels, strict=True)
        ]
    )


def values(head):
    """Kernel and bias of a head as float64 arrays."""
    kernel = tf.convert_to_tensor(head.kernel).numpy().astype(np.float64)
    if head.biases:
        return kernel, np.concatenate([tf.convert_to_tensor(b).numpy() for b in head.biases])
    return kernel, tf.convert_to_tensor(head.bias).numpy() if hasattr(head, "bias") else 0.0


def gradients(head, embeddings, labels, training=False):
    """Loss, and its gradients by embeddings and kernel (and bias), as arrays."""
    x = tf.convert_to_tensor(embeddings)
    sources = [x, *head.trainable_variables]

    def run():
        with tf.GradientTape() as tape:
            tape.watch(x)
            step = None if training else tf.convert_to_tensor(head.step)
            losses = head.compute_losses(x, labels, training, step).losses
            loss = tf.reduce_sum(losses)
        return loss, tape.gradient(loss, sources)

    loss, (by_input, *by_weights) = run()
    widths = len(head.kernels)
    by_kernel = np.concatenate([g.numpy() for g in by_weights[:widths]], axis=1)
    return float(loss), by_input.numpy(), by_kernel, [g.numpy() for g in by_weights[widths:]]


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_loss_is_that_of_the_definition(batch, name, dtype):
    embeddings, labels = batch
    head = built(name, dtype=dtype)
    losses = head.loss.call(labels, head(tf.constant(embeddings, dtype)))
    expected = losses_by_definition(name, embeddings, values(head)[0], labels, values(head)[1])
    tolerance = 3e-5 if dtype == "float32" else 1e-6
    np.testing.assert_allclose(losses, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", EXACT)
def test_exact_gradients_are_the_slopes_of_the_definition(batch, name):
    embeddings, labels = batch[0][:4], batch[1][:4]
    head = built(name, dtype="float64")
    kernel, bias = values(head)
    _, by_input, by_kernel, by_bias = gradients(head, embeddings, labels)

    for place in np.ndindex(embeddings.shape):
        expected = slope(
            embeddings, place, lambda e: losses_by_definition(name, e, kernel, labels, bias)
        )
        assert by_input[place] == pytest.approx(expected, rel=1e-5, abs=1e-6)
    for place in np.ndindex(kernel.shape):
        expected = slope(
            kernel, place, lambda k: losses_by_definition(name, embeddings, k, labels, bias)
        )
        assert by_kernel[place] == pytest.approx(expected, rel=1e-5, abs=1e-6)
    for gradient in by_bias:
        bias = np.asarray(bias, np.float64)
        for place in np.ndindex(bias.shape):
            expected = slope(
                bias, place, lambda b: losses_by_definition(name, embeddings, kernel, labels, b)
            )
            assert gradient[place] == pytest.approx(expected, rel=1e-5, abs=1e-6)


def probabilities(target, logits, label):
    """Softmax with `target` in place of the target logit."""
    z = logits.copy()
    z[label] = target
    e = np.exp(z - z.max())
    return e / e.sum()


@pytest.mark.parametrize("kernel_norm", ["through", "projected"])
def test_a_detached_margin_moves_the_probabilities_and_not_the_slopes(batch, kernel_norm):
    embeddings, labels = batch
    head = built("asoftmax detached", dtype="float64", kernel_norm=kernel_norm)
    kernel = values(head)[0]
    _, by_input, by_kernel, _ = gradients(head, embeddings, labels)
    norms_w = np.sqrt((kernel**2).sum(0))
    units = kernel / norms_w
    expected_x, by_units = np.zeros_like(embeddings), np.zeros_like(kernel)
    for i, (x, label) in enumerate(zip(embeddings, labels, strict=True)):
        norm, z = np.sqrt((x**2).sum()), x @ units
        theta = np.arccos(z[label] / norm)
        target = norm * (5 * np.cos(theta) + psi_by_definition(theta, 4)) / 6
        by_z = probabilities(target, z, label) - np.eye(C)[label]
        expected_x[i] = units @ by_z
        by_units += np.outer(x, by_z)
    np.testing.assert_allclose(by_input, expected_x, atol=1e-10)
    if kernel_norm == "projected":
        np.testing.assert_allclose(norms_w, 1.0)
        np.testing.assert_allclose(by_kernel, by_units, atol=1e-10)
    else:
        tangent = (by_units - units * (units * by_units).sum(0)) / norms_w
        np.testing.assert_allclose(by_kernel, tangent, atol=1e-10)


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_the_caffe_gradient_is_that_of_the_original_layer(batch, m):
    embeddings, labels = batch
    head = ASoftmax(C, m=m, gradient="caffe", kernel_norm="projected", dtype="float64")
    head.build((None, D))
    head.step.assign(300)
    annealing_lambda = 1000 / (1 + 0.12 * 300)
    units = values(head)[0]
    _, by_input, by_kernel, _ = gradients(head, embeddings, labels)
    expected_x, expected_w = np.zeros_like(embeddings), np.zeros_like(units)
    for i, (x, label) in enumerate(zip(embeddings, labels, strict=True)):
        norm, z = np.sqrt((x**2).sum()), x @ units
        c = z[label] / norm
        a, b = caffe_coefficients(c, norm, m)
        psi = psi_by_definition(np.arccos(c), m)
        target = norm * (annealing_lambda * c + psi) / (1 + annealing_lambda)
        top = probabilities(target, z, label) - np.eye(C)[label]
        # No derivative of the margin by the class weights; coefficients of length 1 for x.
        expected_w += np.outer(x, top)
        by_target = (a * units[:, label] + b * x) / np.sqrt(a**2 + b**2)
        by_target = (annealing_lambda * units[:, label] + by_target) / (1 + annealing_lambda)
        top_negatives = np.where(np.arange(C) == label, 0, top)
        expected_x[i] = units @ top_negatives + top[label] * by_target
    # lambda is a float32 number.
    np.testing.assert_allclose(by_input, expected_x, atol=1e-7)
    np.testing.assert_allclose(by_kernel, expected_w, atol=1e-7)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("block_size", [1, 3])
def test_blocks_change_neither_loss_nor_gradients(batch, name, block_size):
    embeddings, labels = batch[0].astype(np.float32), batch[1]
    whole, in_blocks = built(name), built(name, block_size=block_size)
    assert int(in_blocks.kernels[0].shape[1]) == block_size
    start = 0
    for i, kernel in enumerate(in_blocks.kernels):
        end = start + int(kernel.shape[1])
        kernel.assign(values(whole)[0][:, start:end])
        if in_blocks.biases:
            in_blocks.biases[i].assign(values(whole)[1][start:end])
        start = end
    np.testing.assert_array_equal(values(whole)[0], values(in_blocks)[0])
    expected = gradients(whole, embeddings, labels)
    actual = gradients(in_blocks, embeddings, labels)
    np.testing.assert_allclose(actual[0], expected[0], rtol=1e-5)
    for ours, theirs in zip(actual[1:3], expected[1:3], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        np.concatenate([np.ravel(g) for g in actual[3]] or [[]]),
        np.concatenate([np.ravel(g) for g in expected[3]] or [[]]),
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.parametrize("name", HEADS)
def test_sampling_all_classes_changes_nothing_and_fewer_only_the_training(batch, name):
    embeddings, labels = batch[0].astype(np.float32), batch[1]
    whole, sampled = built(name), built(name, sample_rate=0.999)
    # Of 7 classes 0.999 are 7, so every class is drawn, in another order.
    expected, actual = (gradients(h, embeddings, labels, training=True) for h in (whole, sampled))
    np.testing.assert_allclose(actual[0], expected[0], rtol=1e-5)
    for ours, theirs in zip(actual[1:3], expected[1:3], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    few = built(name, sample_rate=0.1)
    two = embeddings[:2], labels[:2]
    assert gradients(few, *two)[0] == pytest.approx(gradients(whole, *two)[0], rel=1e-5)
    assert np.any(gradients(few, *two, training=True)[2] != gradients(whole, *two)[2])


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("block_size", [None, 3])
def test_extreme_embeddings_give_finite_losses_and_gradients(name, block_size):
    head = built(name, block_size=block_size)
    w = values(head)[0][:, 0]
    extremes = [0 * w, w, w, -w, 1e6 * w, -1e6 * w, 1e-20 * w]
    loss, *by = gradients(head, np.array(extremes, np.float32), np.zeros(7, int))
    assert np.isfinite(loss)
    for gradient in [by[0], by[1], *by[2]]:
        assert np.isfinite(gradient).all()
    # A zero embedding is pushed no harder than one of length 1.
    assert np.abs(by[0][0]).max() <= 100.0


@pytest.mark.parametrize("name", HEADS)
def test_two_equal_or_zero_class_weights_give_finite_gradients(batch, name):
    head = built(name)
    kernel = values(head)[0]
    kernel[:, 1], kernel[:, 2] = kernel[:, 0], 0.0
    head.kernels[0].assign(kernel)
    loss, *by = gradients(head, batch[0].astype(np.float32), batch[1])
    assert np.isfinite(loss)
    for gradient in [by[0], by[1], *by[2]]:
        assert np.isfinite(gradient).all()


@pytest.mark.slow
def test_outputs_hold_correct_predictions_and_target_cosines(batch):
    embeddings, labels = batch
    for name in HEADS:
        for block_size in (None, 3):
            head = built(name, dtype="float64", block_size=block_size)
            outputs = head(tf.constant(embeddings))
            output = head.compute_losses(embeddings, labels)
            np.testing.assert_array_equal(output.correct, np.argmax(outputs, 1) == labels)
            units = values(head)[0] / np.linalg.norm(values(head)[0], axis=0)
            expected = np.sum(embeddings * units[:, labels].T, axis=1)
            expected /= np.linalg.norm(embeddings, axis=1)
            np.testing.assert_allclose(output.target_cosine, expected, atol=1e-9)


@pytest.mark.slow
def test_projected_class_weights_are_of_unit_length_and_stay_so(batch):
    head = ASoftmax(C, kernel_norm="projected", block_size=4)
    model = keras.Sequential([keras.Input((D,)), keras.layers.Dense(D), head])
    model.compile(keras.optimizers.SGD(0.5, momentum=0.9), loss=head.loss)
    start = values(head)[0]
    np.testing.assert_allclose(np.linalg.norm(start, axis=0), 1.0, rtol=1e-5)
    model.fit(batch[0].astype(np.float32), batch[1], epochs=3, verbose=0)
    after = values(head)[0]
    assert np.abs(after - start).max() > 1e-2
    np.testing.assert_allclose(np.linalg.norm(after, axis=0), 1.0, rtol=1e-5)


def test_the_blocks_start_from_different_weights_and_repeat_with_their_seed():
    kernels = []
    for _ in range(2):
        head = ASoftmax(8, block_size=4, kernel_initializer=keras.initializers.LecunUniform(3))
        head.build((None, D))
        kernels.append(values(head)[0])
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert np.all(kernels[0][:, :4] != kernels[0][:, 4:])
    unseeded = ASoftmax(8, block_size=4)
    unseeded.build((None, D))
    assert np.all(values(unseeded)[0][:, :4] != values(unseeded)[0][:, 4:])


def test_blocks_are_chosen_for_very_many_classes():
    assert ASoftmax(2**18).block_sizes() == [2**18]
    sizes = ASoftmax(2**18 + 1).block_sizes()
    assert len(sizes) == 17
    assert sum(sizes) == 2**18 + 1
    assert ASoftmax(10, block_size=4).block_sizes() == [4, 4, 2]
    assert ASoftmax(2**18 + 1, block_size=2**20).block_sizes() == [2**18 + 1]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: CosFace(10, m=-0.1), ValueError, "Received: m=-0.1"),
        (lambda: ArcFace(10, m="x"), TypeError, "Received: m='x'"),
        (lambda: ArcFace(10, scale=0.0), ValueError, "Received: scale=0.0"),
        (lambda: NormFace(10, scale=float("inf")), ValueError, "Received: scale=inf"),
        (lambda: SphereFaceR(10, m=0.9), ValueError, "Received: m=0.9"),
        (lambda: SphereFaceR(10, version="v3"), ValueError, "Received: version='v3'"),
        (lambda: SphereFaceR(10, version="v2", gradient="exact"), ValueError, "'detached' with v2"),
        (lambda: SphereFace2(10, alpha=1.0), ValueError, "Received: alpha=1.0"),
        (lambda: SphereFace2(10, gradient="detached"), ValueError, "Received: gradient="),
        (lambda: CosFace(10, gradient="caffe"), ValueError, "Received: gradient='caffe'"),
        (lambda: PlainSoftmax(10, kernel_norm="projected"), ValueError, "normalizes nothing"),
        (lambda: ASoftmax(10, scale=30.0), ValueError, "A-Softmax has no `scale`"),
        (lambda: SphereFace2(10, scale=30.0), ValueError, "set `r`, the scale in the loss"),
        (lambda: ASoftmax(10, dtype="int32"), ValueError, "Received: dtype='int32'"),
        (lambda: ASoftmax(10, kernel_norm="free"), ValueError, "Received: kernel_norm='free'"),
        (lambda: ASoftmax(10, block_size=0), ValueError, "Received: block_size=0"),
        (lambda: ASoftmax(10, sample_rate=0.0), ValueError, "Received: sample_rate=0.0"),
        (lambda: ASoftmax(10, sample_rate=1.1), ValueError, "Received: sample_rate=1.1"),
        (
            lambda: ASoftmax(10, margin_warmup_steps=-1),
            ValueError,
            "Received: margin_warmup_steps=-1",
        ),
        (lambda: registry.make_head("softmax", 10, m=4), ValueError, "has no `m`"),
        (lambda: registry.make_head("foo", 10), ValueError, "Received: head='foo'"),
    ],
)
def test_bad_arguments_are_refused(make, error, message):
    with pytest.raises(error) as caught:
        make()
    assert message in str(caught.value)
