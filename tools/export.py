"""Write a network as TFLite and ONNX, and compare the files: `sphereface export`."""

import runpy
import sys

if __name__ == "__main__":
    sys.argv[:1] = ["sphereface", "export"]
    runpy.run_module("keras_sphereface", run_name="__main__")
