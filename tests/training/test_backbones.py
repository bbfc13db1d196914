"""Backbones by their names, and the names of backbones."""

import pytest

from keras_sphereface.training.backbones import backbone_by_name, name_of_backbone
from tests.helpers.small_training import one_layer


@pytest.mark.parametrize("name", ["resnet", "absent_module:network", "math:network"])
def test_an_unknown_backbone_is_refused(name):
    with pytest.raises(ValueError, match=f"Received: backbone='{name}'"):
        backbone_by_name(name)


def test_a_function_is_had_by_the_name_that_is_made_of_it():
    assert backbone_by_name(name_of_backbone(one_layer)) is one_layer


def test_an_object_that_can_be_called_is_named_by_its_class():
    class Backbone:
        def __call__(self, input_shape, embedding_size, seed):
            return one_layer(input_shape, embedding_size, seed)

    assert name_of_backbone(Backbone()).endswith(".Backbone")
