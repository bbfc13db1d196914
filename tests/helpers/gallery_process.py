"""Enrolls identities 0, 1, ... into a gallery, and names each on standard output when it is in.

Usage: KERAS_SPHEREFACE_DATA_ONLY=1 python -m tests.helpers.gallery_process GALLERY FIRST
"""

import sys

import numpy as np

from keras_sphereface.recognition import Gallery

TEMPLATES = 3
DIM = 32


def templates_of(number):
    """The templates of an identity, the same in every process."""
    return np.random.default_rng(number).normal(size=(TEMPLATES, DIM)).astype(np.float32)


def main():
    path, first = sys.argv[1], int(sys.argv[2])
    with Gallery.open(path) as gallery:
        for number in range(first, first + 100_000):
            gallery.enroll(f"identity {number}", templates_of(number))
            print(number, flush=True)


if __name__ == "__main__":
    main()
