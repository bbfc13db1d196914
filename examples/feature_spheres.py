"""Train 2-D and 3-D embeddings with softmax and several m, and draw them side by side.

    python examples/feature_spheres.py --out SPHERES

Without `--data` faces are generated. `--help` lists the flags.
"""

from keras_sphereface.commands.spheres import main

if __name__ == "__main__":
    main()
