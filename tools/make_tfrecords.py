"""Convert faces of any source to sharded TFRecords: `sphereface convert`."""

import runpy
import sys

if __name__ == "__main__":
    sys.argv[:1] = ["sphereface", "convert"]
    runpy.run_module("keras_sphereface", run_name="__main__")
