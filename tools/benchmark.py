"""Measure heads, convergence, data, training and evaluation: `sphereface benchmark`."""

import runpy
import sys

if __name__ == "__main__":
    sys.argv[:1] = ["sphereface", "benchmark"]
    runpy.run_module("keras_sphereface", run_name="__main__")
