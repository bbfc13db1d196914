"""Find identities in galleries with exported networks: `sphereface evaluate-identification`."""

import runpy
import sys

if __name__ == "__main__":
    sys.argv[:1] = ["sphereface", "evaluate-identification"]
    runpy.run_module("keras_sphereface", run_name="__main__")
