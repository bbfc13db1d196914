"""Train a SphereFace network, by default as the paper did on CASIA-WebFace: `sphereface train`."""

import runpy
import sys

if __name__ == "__main__":
    sys.argv[:1] = ["sphereface", "train"]
    runpy.run_module("keras_sphereface", run_name="__main__")
