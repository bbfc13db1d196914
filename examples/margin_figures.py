"""Draw the geometry of the loss, and work out how large m must be: `sphereface margins`."""

import runpy
import sys

if __name__ == "__main__":
    sys.argv[:1] = ["sphereface", "margins"]
    runpy.run_module("keras_sphereface", run_name="__main__")
