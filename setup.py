"""Packaging of keras_sphereface."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(
    r'__version__ = "(.+)"', (HERE / "keras_sphereface" / "version.py").read_text()
).group(1)
JAX = "jax>=0.6"
PARQUET = "pyarrow>=14"
INTERACTIVE = "plotly>=6.0"
NOTEBOOK = ("nbclient>=0.10", "ipykernel>=6.29")
DETECT = "mtcnn>=1.0"
BEAM = "apache-beam>=2.60"
# onnx 1.19 needs a newer ml_dtypes than TensorFlow 2.15 allows.
ONNX = ("tf2onnx>=1.17", "onnx>=1.18,!=1.19.*", "onnxruntime>=1.17")

setup(
    name="keras-sphereface",
    version=VERSION,
    description="SphereFace (A-Softmax) for Keras and TensorFlow: layer, training, evaluation",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    packages=find_packages(include=["keras_sphereface", "keras_sphereface.*"]),
    package_data={"keras_sphereface": ["py.typed"]},
    python_requires=">=3.10,<3.14",
    install_requires=[
        "tensorflow>=2.15.1,<2.22" + "".join(f",!=2.{minor}.*" for minor in range(16, 21)),
        "keras>=2.15,<3.16",
        "numpy>=1.26",
        "pandas>=2.0",
        "matplotlib>=3.8",
        "pillow>=10.1",
        "opencv-python-headless>=4.8",
        "google-crc32c>=1.5",
        "tqdm>=4.66",
        "pyyaml>=6.0",
        'tomli>=2.0; python_version < "3.11"',
        # `tf.summary` needs it; TensorFlow itself stopped to require it.
        "tensorboard>=2.15,<2.22",
    ],
    extras_require={
        # For tools/run_hlo.py; the package itself does not use it.
        "jax": [JAX],
        # What tools/make_tfrecords.py can do beyond the usual.
        "parquet": [PARQUET],
        "detect": [DETECT],
        "beam": [BEAM],
        # For exported networks in that form.
        "onnx": [*ONNX],
        # For examples/feature_spheres.py --html, and for the notebook.
        "interactive": [INTERACTIVE],
        "notebook": [*NOTEBOOK],
        "dev": [
            *(JAX, PARQUET, DETECT, BEAM, INTERACTIVE),
            *NOTEBOOK,
            *ONNX,
            "pytest>=8",
            "pytest-xdist>=3.5",
            "hypothesis>=6.100",
            "ruff==0.17.*",
            "mypy>=1.18",
        ],
    },
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in (10, 11, 12, 13)),
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
