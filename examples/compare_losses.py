"""Train one network with every loss, under one budget, and verify people never trained on.

    python examples/compare_losses.py --out LOSSES

Without `--data` faces are generated. `--help` lists the flags.
"""

from pathlib import Path

from keras_sphereface.command_line import errors_in_one_sentence, parse_config
from keras_sphereface.comparison import compare_losses
from keras_sphereface.config import CompareConfig

if __name__ == "__main__":
    config = parse_config(CompareConfig)
    with errors_in_one_sentence():
        compare_losses(config)
    print((Path(config.out) / "losses.md").read_text(encoding="utf-8"))
    print(f"written to {config.out}")
