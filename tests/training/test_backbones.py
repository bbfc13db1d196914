"""Backbones by their names, and the names of backbones."""

import functools
import sys

import keras
import pytest

from keras_sphereface.config import TrainConfig
from keras_sphereface.training import train
from keras_sphereface.training.backbones import backbone_by_name, make_network, name_of_backbone
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


def test_what_is_no_network_from_images_to_vectors_is_refused():
    image = keras.Input((8, 8, 3))
    feature_map = keras.Model(image, keras.layers.Conv2D(2, 3)(image))
    with pytest.raises(ValueError, match=r"Flatten.*Received: a model with outputs .* from a:b"):
        make_network(lambda **arguments: feature_map, "a:b", seed=0)
    with pytest.raises(ValueError, match="Received: int from a:b"):
        make_network(lambda **arguments: 3, "a:b", seed=0)
    with pytest.raises(ValueError, match=r"of `input_shape`, .*TypeError: .*argument 'seed'"):
        make_network(lambda: feature_map, "a:b", seed=0)


def test_an_error_of_the_networks_of_the_package_passes_unchanged():
    with pytest.raises(ValueError, match=r"^`width` must be above 0"):
        make_network(backbone_by_name("sphereface4", width=0.0), "sphereface4", seed=0)


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
