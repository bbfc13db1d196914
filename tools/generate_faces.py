"""Generate faces in the form of LFW: `sphereface faces`."""

import runpy
import sys

if __name__ == "__main__":
    sys.argv[:1] = ["sphereface", "faces"]
    runpy.run_module("keras_sphereface", run_name="__main__")
