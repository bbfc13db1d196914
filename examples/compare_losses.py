"""Train one network with every loss, under one budget, and verify people never trained on.

    python examples/compare_losses.py --out LOSSES

Without `--data` faces are generated. `--help` lists the flags.
"""

from pathlib import Path

from keras_sphereface.config import CompareConfig
from keras_sphereface.config.parsing import errors_in_one_sentence, parse_config
from keras_sphereface.experiments.compare_losses.run import compare_losses

if __name__ == "__main__":
    config = parse_config(CompareConfig)
    with errors_in_one_sentence():
        compare_losses(config)
    print((Path(config.out) / "losses.md").read_text(encoding="utf-8"))
    print(f"written to {config.out}")
