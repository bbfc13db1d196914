"""Backbones by their names, and the names of backbones."""

import functools
import sys

import keras
import numpy as np
import pytest

from keras_sphereface.config import TrainConfig
from keras_sphereface.config.choices import KERAS_NETWORKS
from keras_sphereface.models import embedding_network
from keras_sphereface.models.embedding_network import contract_of
from keras_sphereface.training import train
from keras_sphereface.training.backbones import backbone_by_name, make_network, name_of_backbone
from tests.helpers import own_networks
from tests.helpers.small_training import one_layer


@pytest.mark.parametrize("name", ["resnet", "absent_module:network", "math:network"])
def test_an_unknown_backbone_is_refused(name):
    with pytest.raises(ValueError, match=f"Received: backbone='{name}'"):
        backbone_by_name(name)


def test_a_function_is_had_by_the_name_that_is_made_of_it():
    assert backbone_by_name(name_of_backbone(one_layer)) is one_layer


@pytest.mark.parametrize(
    ("text", "received"),
    [
        ("def make(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("", "has no attribute 'make'"),
    ],
)
def test_a_module_that_cannot_be_used_is_a_mistake_in_words(text, received, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_network.py").write_text(text)
    monkeypatch.delitem(sys.modules, "own_network", raising=False)
    with pytest.raises(
        ValueError, match=f"Received: backbone='own_network:make', and .*{received}"
    ):
        backbone_by_name("own_network:make")


@pytest.mark.parametrize("kind", own_networks.REFUSED)
def test_what_cannot_serve_is_refused_with_its_name(kind):
    message = f"{own_networks.REFUSED[kind]}.*, of backbone=a:b"
    with pytest.raises(ValueError, match=message):
        make_network(kind, "a:b", (28, 24, 3), embedding_size=8, seed=0)


def test_a_function_that_fails_is_a_mistake_in_words():
    with pytest.raises(ValueError, match=r"of `input_shape`, .*TypeError: .*argument 'seed'"):
        make_network(lambda input_shape: None, "a:b", (8, 8, 3), seed=0)


def test_the_range_that_is_given_counts():
    arguments = {"embedding_size": 8, "seed": 0}
    for given in ("raw", "unit"):
        network = make_network(own_networks.with_a_function, "a:b", (28, 24, 3), given, **arguments)
        assert contract_of(network).input_range == given


def test_networks_of_keras_are_had_by_their_names():
    network = backbone_by_name("keras:MobileNetV3Small")((48, 40, 3), embedding_size=6, seed=0)
    again = backbone_by_name("keras:MobileNetV3Small")((48, 40, 3), embedding_size=6, seed=0)
    assert network.output_shape == (None, 6)
    assert contract_of(embedding_network(network)).input_range == "raw"
    np.testing.assert_array_equal(network.get_weights()[0], again.get_weights()[0])


def test_the_names_are_those_of_keras():
    names = {name for name in dir(keras.applications) if name[0].isupper()}
    others = {name for name in names if name.startswith(("RegNet", "ResNetRS"))}  # of Keras 2 only
    assert names - others == set(KERAS_NETWORKS)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("MobilNetV2", r"Received: backbone=keras:MobilNetV2. Did you mean `MobileNetV2`\?"),
        ("Model", "Received: backbone=keras:Model"),
    ],
)
def test_a_name_that_keras_lacks_is_refused(name, message):
    make = backbone_by_name(f"keras:{name}")
    with pytest.raises(ValueError, match=message):
        make((48, 40, 3), embedding_size=6, seed=0)


def test_images_that_are_too_small_for_a_network_of_keras_are_refused():
    make = backbone_by_name("keras:MobileNetV2")
    with pytest.raises(
        ValueError, match=r"large enough.*Received: backbone='keras:Mob.*ValueError"
    ):
        make_network(make, "keras:MobileNetV2", (28, 24, 3), embedding_size=6, seed=0)


def test_an_error_of_the_networks_of_the_package_passes_unchanged():
    with pytest.raises(ValueError, match=r"^`width` must be above 0"):
        make_network(backbone_by_name("sphereface4", width=0.0), "sphereface4", (8, 8, 3), seed=0)


def inner():
    def network(input_shape, embedding_size, seed):
        return one_layer(input_shape, embedding_size, seed)

    return network


class Backbone:
    def __call__(self, input_shape, embedding_size, seed):
        return one_layer(input_shape, embedding_size, seed)


@pytest.mark.parametrize(
    ("backbone", "received"),
    [
        (lambda **arguments: one_layer(**arguments), "<function <lambda>"),
        (functools.partial(one_layer, use_bias=False), r"functools.partial\("),
        (backbone_by_name("sphereface4", width=0.5), r"functools.partial\("),
        (inner(), "<function inner.<locals>.network"),
        (Backbone(), "<.*Backbone object"),
        (Backbone().__call__, "<bound method"),
        (one_layer((8, 8, 3), 4, 0), "<.*Sequential"),
    ],
)
def test_what_no_name_leads_back_to_is_refused(backbone, received):
    with pytest.raises(ValueError, match=f"top level of a module.*Received: backbone={received}"):
        name_of_backbone(backbone)


def test_a_function_that_another_replaced_is_refused(monkeypatch):
    replaced = sys.modules[one_layer.__module__].one_layer
    monkeypatch.setattr(sys.modules[one_layer.__module__], "one_layer", inner())
    with pytest.raises(ValueError, match="top level of a module"):
        name_of_backbone(replaced)


def test_training_refuses_it_before_it_writes(tmp_path):
    config = TrainConfig(workdir=str(tmp_path / "run"))
    with pytest.raises(ValueError, match="top level of a module"):
        train(config, functools.partial(one_layer, use_bias=False))
    assert not (tmp_path / "run").exists()
