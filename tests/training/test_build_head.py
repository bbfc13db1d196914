"""From the settings of a run to its head and its batches."""

import pytest

from keras_sphereface.config import TrainConfig
from keras_sphereface.training.build_head import check_batches, head_of, images_per_identity

C = 6


def test_settings_reach_the_heads():
    assert head_of(TrainConfig(head="softmax+contrastive", m=0.8, term_weight=2.0), C).m == 0.8
    assert head_of(TrainConfig(head="softmax+center", term_weight=2.0), C).term_weight == 2.0
    assert head_of(TrainConfig(head="triplet-hard", m=0.5), C).mining == "hard"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, 0),
        ({"images_per_identity": 3}, 3),
        ({"head": "softmax+center"}, 0),
        ({"head": "triplet"}, 4),
        ({"head": "triplet", "images_per_identity": 2}, 2),
    ],
)
def test_batches_are_balanced_where_the_head_needs_it(settings, expected):
    assert images_per_identity(TrainConfig(**settings)) == expected


@pytest.mark.parametrize(
    ("replicas", "settings", "received"),
    [
        (1, {"head": "softmax+center", "accumulate_steps": 2}, "accumulate_steps=2"),
        (2, {"head": "softmax+contrastive", "jit": True}, "jit=True"),
        (1, {"head": "triplet", "shard_classes": True}, "shard_classes=True"),
        (1, {"head": "triplet", "images_per_identity": 0}, "images_per_identity=0"),
        (1, {"images_per_identity": 1}, "images_per_identity=1"),
        (1, {"head": "triplet", "batch_size": 10}, "batch_size=10"),
        (1, {"head": "triplet", "batch_size": 4}, "batch_size=4"),
        (1, {"images_per_identity": 2, "worker_shards": True}, "worker_shards=True"),
    ],
)
def test_batches_that_a_head_cannot_use_are_refused(replicas, settings, received):
    config = TrainConfig(**settings)
    with pytest.raises(ValueError, match=f"Received: {received}"):
        check_batches(config, head_of(config, C), replicas)


@pytest.mark.parametrize(
    ("settings", "received"),
    [
        ({"head": "triplet", "sample_rate": 0.5}, "sample_rate=0.5"),
        ({"head": "triplet", "gamma": 0.5}, "gamma=0.5"),
        ({"term_weight": 0.5}, "term_weight=0.5"),
    ],
)
def test_settings_that_a_head_does_not_have_are_refused(settings, received):
    with pytest.raises(ValueError, match=f"Received: {received}"):
        head_of(TrainConfig(**settings), C)
