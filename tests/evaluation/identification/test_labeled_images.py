"""Embeddings by identity, as far as images have one."""

import numpy as np
import pytest

from keras_sphereface.evaluation.embeddings import Embeddings
from keras_sphereface.evaluation.faces import FaceSources
from keras_sphereface.evaluation.identification.labeled_images import EmbeddedImages, LabeledImages

IMAGES = LabeledImages({}, FaceSources(), {})


def test_images_without_an_embedding_are_left_out():
    views = np.arange(12.0).reshape(3, 2, 2)
    embeddings = Embeddings(["c", "other", "a"], views, {"b": "no such image"})
    embedded = EmbeddedImages(embeddings, None, IMAGES, "casia")
    selected = embedded.select({"a": "A", "b": "B", "c": "C"})
    assert selected.keys == ["a", "c"]
    assert selected.identities.tolist() == ["A", "C"]
    assert selected.embeddings.tolist() == [[8, 9, 10, 11], [0, 1, 2, 3]]
    assert embedded.missing_warnings("images") == [
        "Missing images, left out: 1 no such image, for example b."
    ]
    with pytest.raises(ValueError, match=r"casia must have .* 1 missing, .* b \(no such image\)"):
        embedded.select({"b": "B"})


def test_templates_are_made_of_their_images():
    templates = {"T": [("2.jpg", "video"), ("1.jpg", "video")], "U": [("1.jpg", "photo")]}
    images = IMAGES._replace(templates=templates)
    assert images.image_keys(["T", "3.jpg", "U"]) == ["1.jpg", "2.jpg", "3.jpg"]
    assert (images.unit, IMAGES.unit) == ("templates", "images")
