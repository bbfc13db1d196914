"""Train 2-D and 3-D embeddings with softmax and several m, and draw them: `sphereface spheres`."""

import runpy
import sys

if __name__ == "__main__":
    sys.argv[:1] = ["sphereface", "spheres"]
    runpy.run_module("keras_sphereface", run_name="__main__")
