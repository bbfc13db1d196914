"""The signature that every exported network must have."""

import pytest

from keras_sphereface.export.signature import TensorInfo, check_signature, check_signature_name


def test_outputs_beside_the_embeddings_do_not_matter():
    images = TensorInfo("uint8", (None, 4, 5, 3))
    embeddings, logits = TensorInfo("float32", (None, 2)), TensorInfo("int64", (None,))
    check_signature("x", {"images": images}, {"embeddings": embeddings, "logits": logits})


def test_a_second_input_is_refused():
    images = TensorInfo("uint8", (None, 4, 5, 3))
    outputs = {"embeddings": TensorInfo("float32", (None, 2))}
    inputs = {"images": images, "training": TensorInfo("bool", ())}
    with pytest.raises(ValueError, match=r"Received: `images` .*, `training` bool \(\) -> "):
        check_signature("x", inputs, outputs)


def test_a_signature_without_inputs_is_refused():
    with pytest.raises(ValueError, match=r"must be `images` uint8 .* Received:  ->  in x$"):
        check_signature("x", {}, {})


def test_signatures_of_other_names_are_listed():
    check_signature_name("x", ["embed", "serving_default"])
    with pytest.raises(ValueError, match=r"needs a signature serving_default, .*\['a', 'b'\]"):
        check_signature_name("x", ["b", "a"])
