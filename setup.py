"""Packaging of keras_sphereface."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(
    r'__version__ = "(.+)"', (HERE / "keras_sphereface" / "version.py").read_text()
).group(1)


def without(name, minors):
    """What keeps releases that nobody has tested out of a range: `!=3.0.*,!=3.1.*` and so on."""
    return "".join(f",!={name}.{minor}.*" for minor in minors)


# Two stacks are tested, and what lies between them is not offered. pip chooses TensorFlow 2.21 with
# Keras 3.15; on Python 3.10, where Keras ends with 3.12, with that.
BETWEEN = without("2", range(16, 21))
REQUIRED = [
    "tensorflow>=2.15.1,<2.22" + BETWEEN,
    "keras>=2.15,<3.16" + without("3", (*range(12), 13, 14)),
    # `tf.summary` needs it; TensorFlow itself stopped to require it.
    "tensorboard>=2.15,<2.22" + BETWEEN,
    "numpy>=1.26",
    "pandas>=2.0",
    "matplotlib>=3.8",
    "pillow>=10.1",
    "opencv-python-headless>=4.8",
    "google-crc32c>=1.5",
    "tqdm>=4.66",
    "pyyaml>=6.0",
    'tomli>=2.0; python_version < "3.11"',
]

# What the package can do beyond the usual. All of it runs on both stacks.
FEATURES = {
    # For tools/make_tfrecords.py.
    "parquet": ["pyarrow>=14"],
    "detect": ["mtcnn>=1.0"],
    "beam": ["apache-beam>=2.60"],
    # For exported networks in that form. onnx 1.19 needs a newer ml_dtypes than TensorFlow 2.15
    # allows.
    "onnx": ["tf2onnx>=1.17", "onnx>=1.18,!=1.19.*", "onnxruntime>=1.17"],
    # For examples/feature_spheres.py --html, and for the notebook.
    "interactive": ["plotly>=6.0"],
    "notebook": ["nbclient>=0.10", "ipykernel>=6.29"],
}
ALL = [requirement for feature in FEATURES.values() for requirement in feature]

# For tools/run_hlo.py, which runs where the package is not. Not in `all`: JAX cannot go beside
# TensorFlow 2.15.
JAX = ["jax>=0.6"]

# The last versions that TensorFlow Addons runs on. Without a marker for Python 3.10 and 3.11:
# elsewhere pip is to say that there is no such TensorFlow, not to leave the extra out.
ADDONS = [
    "tensorflow-addons==0.23.0",
    "tensorflow==2.15.1",
    "keras==2.15.*",
    "tensorboard==2.15.*",
    "numpy<2",
    # Later ones are built for NumPy 2.
    "opencv-python-headless<4.12",
]

TEST = ["pytest>=8", "pytest-xdist>=3.5", "hypothesis>=6.100", "build>=1.2"]
CHECK = ["ruff==0.17.*", "mypy>=1.18"]

setup(
    name="keras-sphereface",
    version=VERSION,
    description="SphereFace (A-Softmax) for Keras and TensorFlow: layer, training, evaluation",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license_expression="MIT",
    license_files=["LICENSE"],
    packages=find_packages(include=["keras_sphereface", "keras_sphereface.*"]),
    package_data={"keras_sphereface": ["py.typed"]},
    python_requires=">=3.10,<3.14",
    install_requires=REQUIRED,
    extras_require={
        **FEATURES,
        "all": ALL,
        "jax": JAX,
        "addons": ADDONS,
        # The tests, on either stack; what lints and checks types beside them.
        "test": TEST,
        "dev": [*ALL, *JAX, *TEST, *CHECK],
    },
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in (10, 11, 12, 13)),
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
)
