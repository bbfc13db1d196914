"""Settings of a small comparison."""

from keras_sphereface.config import CompareConfig, EvaluateConfig
from keras_sphereface.config.experiments import LOSSES
from keras_sphereface.experiments.compare_losses.plan import plan_runs

SMALL = (
    "--backbone tests.helpers.small_training:one_layer --embedding-size 8 --batch-size 8 "
    "--total-steps 6"
).split()


def compare_config(faces, records, out, *losses, flags=SMALL, **settings):
    return CompareConfig(
        **{
            "out": str(out),
            "data": str(records),
            "images": str(faces / "images"),
            "pairs": str(faces / "pairs.txt"),
            "landmarks": str(faces / "landmarks.txt"),
            "losses": losses or tuple(LOSSES),
            "num_seeds": 1,
            "training": (*flags,),
            **settings,
        }
    )


def plan(faces, records, out, *losses, flags=SMALL, seeds=(0,), folds=()):
    evaluation = EvaluateConfig(
        out="",
        images=(str(faces / "images"),),
        pairs=(str(faces / "pairs.txt"),),
        landmarks=(str(faces / "landmarks.txt"),),
        folds=folds,
        bootstrap=0,
    )
    return list(plan_runs(out, str(records), evaluation, losses or tuple(LOSSES), seeds, (*flags,)))
