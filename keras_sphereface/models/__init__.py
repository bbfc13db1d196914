"""The networks of the paper, and any other Keras model from images to embeddings."""

from keras_sphereface.models.embedding_network import EmbeddingNetwork, embedding_network
from keras_sphereface.models.flops import forward_flops
from keras_sphereface.models.input_contract import InputContract, input_contract
from keras_sphereface.models.keras_network import keras_network
from keras_sphereface.models.sphereface import (
    sphereface,
    sphereface4,
    sphereface10,
    sphereface20,
    sphereface36,
    sphereface64,
    sphereface_of_blocks,
)
from keras_sphereface.models.stages import (
    freeze_stages,
    hold_batch_norm,
    network_stages,
    rates_by_stage,
)

__all__ = [
    "EmbeddingNetwork",
    "InputContract",
    "embedding_network",
    "forward_flops",
    "freeze_stages",
    "hold_batch_norm",
    "input_contract",
    "keras_network",
    "network_stages",
    "rates_by_stage",
    "sphereface",
    "sphereface4",
    "sphereface10",
    "sphereface20",
    "sphereface36",
    "sphereface64",
    "sphereface_of_blocks",
]
