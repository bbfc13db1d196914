"""Spheres of drawn clouds around the class weights, as if networks had been trained."""

import numpy as np

from keras_sphereface.experiments.feature_spheres.train import Cloud, Sphere


def draw_sphere(dim, m, seed=0, frames=2, width=0.1, num_identities=4):
    rng = np.random.default_rng(seed)
    kernel = rng.normal(size=(dim, num_identities))
    labels = np.arange(40) % num_identities

    def draw_cloud(step):
        noise = rng.normal(scale=width, size=(len(labels), dim))
        return Cloud(step, 3 * (kernel.T[labels] + noise), labels, kernel)

    history = tuple(draw_cloud(step) for step in range(frames))
    return Sphere(m, seed, draw_cloud(9), 0.9, history)
