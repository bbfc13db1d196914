"""Train a SphereFace network, by default as the paper did on CASIA-WebFace.

    python examples/train_casia.py --data RECORDS --workdir RUN

Without `--data` faces are generated. `--help` lists the flags.
"""

from keras_sphereface.config import TrainConfig
from keras_sphereface.config.parsing import parse_config
from keras_sphereface.training.train import train

if __name__ == "__main__":
    print(f"exported to {train(parse_config(TrainConfig))}")
