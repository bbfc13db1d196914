"""Train a SphereFace network, by default as the paper did on CASIA-WebFace.

    python examples/train_casia.py --data RECORDS --workdir RUN

Without `--data` faces are generated. `--help` lists the flags.
"""

from keras_sphereface.commands.train import run_train
from keras_sphereface.config import TrainConfig
from keras_sphereface.config.parsing import parse_config

if __name__ == "__main__":
    run_train(parse_config(TrainConfig))
