"""Faces that show their number: what `load_faces` and `embed_faces` are tested with."""

import threading
import time

import numpy as np

from keras_sphereface.evaluation.faces import MissingFaceError


def keys_to(count):
    """k1, k2, ..."""
    return [f"k{number}" for number in range(1, count + 1)]


def face_of(key):
    """A face whose pixels hold its number, different on the left and on the right."""
    number = int(key[1:])
    return np.array([[[number, 1, 0], [number, 2, 0]]], np.uint8)


class FaceLoader:
    """Loads faces, some of which are missing, and records what was loaded."""

    def __init__(self, missing=(), pause=0.0):
        self.missing = missing
        self.pause = pause
        self.lock = threading.Lock()
        self.loaded = []

    def __call__(self, key):
        with self.lock:
            self.loaded.append(key)
        # The first take longest, so that the threads end in another order.
        time.sleep(self.pause * (5 - int(key[1:]) % 5))
        if key in self.missing:
            raise MissingFaceError(f"no {key}")
        return face_of(key)
