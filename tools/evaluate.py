"""Verify pairs of faces with exported networks: `sphereface evaluate`."""

import runpy
import sys

if __name__ == "__main__":
    sys.argv[:1] = ["sphereface", "evaluate"]
    runpy.run_module("keras_sphereface", run_name="__main__")
