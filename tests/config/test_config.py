import dataclasses

from keras_sphereface import config
from keras_sphereface.config.choices import HEADS
from keras_sphereface.heads.registry import make_head


def test_every_head_can_be_asked_for():
    fields = {field.name: field for field in dataclasses.fields(config.TrainConfig)}
    assert set(fields["head"].metadata["choices"]) == set(HEADS)


def test_the_training_defaults_are_the_papers():
    defaults = config.TrainConfig()
    assert (defaults.backbone, defaults.head, defaults.m) == ("sphereface20", "asoftmax", None)
    assert (make_head("asoftmax", 10, m=defaults.m).m, defaults.embedding_size) == (4, 512)
    assert (defaults.batch_size, defaults.total_steps) == (256, 28_000)
    assert (defaults.momentum, defaults.weight_decay) == (0.9, 5e-4)
    assert (defaults.base, defaults.power, defaults.lambda_min) == (1000.0, 1.0, 5.0)
