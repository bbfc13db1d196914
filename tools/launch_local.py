"""Train with several workers on this machine: `sphereface launch`."""

import runpy
import sys

if __name__ == "__main__":
    sys.argv[:1] = ["sphereface", "launch"]
    runpy.run_module("keras_sphereface", run_name="__main__")
