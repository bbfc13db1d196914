"""Train one network with every loss, and verify other identities: `sphereface compare-losses`."""

import runpy
import sys

if __name__ == "__main__":
    sys.argv[:1] = ["sphereface", "compare-losses"]
    runpy.run_module("keras_sphereface", run_name="__main__")
