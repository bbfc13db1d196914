"""Train one network with every loss, and verify pairs of identities never trained on.

    python examples/compare_losses.py --out LOSSES

Without `--data` faces are generated. `--help` lists the flags.
"""

from keras_sphereface.commands.compare_losses import main

if __name__ == "__main__":
    main()
