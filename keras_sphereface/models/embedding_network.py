"""`EmbeddingNetwork`: any Keras model from images to vectors, as one that takes the same images."""

import contextlib
import dataclasses
import re
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_sphereface.backend import Tensor, is_floating, ops
from keras_sphereface.models.input_contract import GRAY, RGB, InputContract, input_contract
from keras_sphereface.models.pixels import pixels_from_unit, unit_from_pixels

GRAY_WEIGHTS = (0.299, 0.587, 0.114)  # of R, G and B, ITU-R BT.601; their sum is 1
NUM_PROBES = 4  # images that a network is called with before it is used
# Embeddings that differ by less than this share of their largest number are one embedding.
EQUAL_SHARE = 1e-6


@keras.saving.register_keras_serializable(package="keras_sphereface")
class EmbeddingNetwork(keras.Model):
    """Float RGB images (N, H, W, 3) in [-1, 1) -> embeddings (N, D), by a network of other inputs.

    Training, `PairVerification` and `export_savedmodel` give every network the same images. This
    model turns them into what the network inside takes: pixels 0..255, integers, gray images.
    `embedding_network` makes it where it is needed.

    Args:
        network: Any Keras model from images to vectors.
        contract: The images that it takes, as `input_contract` finds them out.
        embedding_size: Int. D.
        **kwargs: `name`, as for any Keras model.

    Example:
        >>> pooling = keras.Sequential([keras.layers.GlobalAveragePooling2D()])
        >>> contract = InputContract((28, 24), input_range="raw")
        >>> network = EmbeddingNetwork(pooling, contract, embedding_size=3)
        >>> np.asarray(network(np.full((1, 28, 24, 3), 0.5, np.float32))).tolist()
        [[191.5, 191.5, 191.5]]
    """

    def __init__(
        self, network: keras.Model, contract: InputContract, embedding_size: int, **kwargs: Any
    ):
        # Not the dtype of a mixed policy, which has too few digits for augmented pixels.
        super().__init__(**{"name": network.name, "dtype": "float32", **kwargs})
        self.network = network
        self.contract = contract
        self.embedding_size = embedding_size

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.built = True

    def call(self, images: Tensor, training: bool | None = None) -> Tensor:
        pixels = pixels_from_unit(ops.cast(images, "float32"))
        return self.network(adapt_pixels(pixels, self.contract), training=training)

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """The shape of the images that this model takes."""
        return (None, *self.contract.image_size, RGB)

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        """The shape of the embeddings."""
        return (None, self.embedding_size)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], self.embedding_size)

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "network": keras.saving.serialize_keras_object(self.network),
            "contract": dataclasses.asdict(self.contract),
            "embedding_size": self.embedding_size,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "EmbeddingNetwork":
        contract = dict(config["contract"])
        contract["image_size"] = tuple(contract["image_size"])
        network = keras.saving.deserialize_keras_object(
            config["network"], custom_objects=custom_objects
        )
        return cls(
            network, InputContract(**contract), config["embedding_size"], name=config["name"]
        )


def embed_pixels(network: keras.Model, pixels: Tensor) -> Tensor:
    """Embed pixels 0..255, RGB (N, H, W, 3), by a network of `embedding_network`; (N, D) float32.

    Example:
        >>> from keras_sphereface.models import sphereface4
        >>> embed_pixels(sphereface4(width=0.05), np.zeros((2, 112, 96, 3), np.uint8)).shape
        TensorShape([2, 512])
    """
    if isinstance(network, EmbeddingNetwork):
        embeddings = network.network(adapt_pixels(pixels, network.contract), training=False)
    else:
        embeddings = network(unit_from_pixels(ops.cast(pixels, "float32")), training=False)
    return ops.cast(embeddings, "float32")


def adapt_pixels(pixels: Tensor, contract: InputContract) -> Tensor:
    """Turn pixels 0..255, RGB (N, H, W, 3), into what a network takes.

    Example:
        >>> gray = InputContract((1, 1), channels=1, dtype="uint8", input_range="raw")
        >>> np.asarray(adapt_pixels(np.full((1, 1, 1, 3), 191.5), gray)).tolist()
        [[[[192]]]]
    """
    pixels = ops.convert_to_tensor(pixels)
    if contract.channels == GRAY:
        weights = ops.convert_to_tensor(GRAY_WEIGHTS, dtype="float32")
        pixels = ops.sum(ops.cast(pixels, "float32") * weights, axis=-1, keepdims=True)
    if contract.input_range == "unit":
        pixels = unit_from_pixels(ops.cast(pixels, "float32"))
    if is_floating(pixels) and "float" not in contract.dtype:
        pixels = ops.round(pixels)
    return ops.cast(pixels, contract.dtype)


def embedding_network(
    network: keras.Model,
    image_size: tuple[int, int] | None = None,
    input_range: str | None = None,
    *,
    must_differ: bool = True,
) -> keras.Model:
    """Return a network as one from float RGB images in [-1, 1) to embeddings; it is called once.

    The call builds a network that is not built yet, and shows whether it can serve.

    Args:
        network: Any Keras model from images to vectors: functional, `Sequential`, or a subclass.
        image_size: (height, width) of the images; None: the size that the network states.
        input_range: "raw" if the network takes pixels 0..255, "unit" if it takes values in
            [-1, 1); None: found out, see `input_contract`.
        must_differ: Bool. Whether to refuse a network with one embedding for different images.

    Returns:
        `network` itself if it takes such images and states its shapes, else an `EmbeddingNetwork`.

    Raises:
        TypeError: If it is no Keras model.
        ValueError: If it takes other images, or gives anything but a finite vector for each.

    Example:
        >>> image = keras.Input((28, 24, 3), dtype="uint8")
        >>> scaled = keras.layers.Rescaling(1 / 255)(image)
        >>> network = keras.Model(image, keras.layers.GlobalAveragePooling2D()(scaled))
        >>> adapted = embedding_network(network)
        >>> adapted.contract.dtype, adapted.output_shape
        ('uint8', (None, 3))
    """
    if not isinstance(network, keras.Model):
        raise TypeError(f"A network must be a Keras model. Received: {type(network).__name__}")
    if isinstance(network, EmbeddingNetwork):
        adapted, contract = network, network.contract
        if image_size and tuple(image_size) != contract.image_size:
            contract = input_contract(network.network, image_size, contract.input_range)
            adapted = EmbeddingNetwork(network.network, contract, network.embedding_size)
    else:
        _build_if_sequential(network, image_size)
        contract = input_contract(network, image_size, input_range)
        adapted = EmbeddingNetwork(network, contract, embedding_size=0, name=network.name)
    embeddings = _checked_embeddings(adapted)
    if must_differ and are_equal(embeddings):
        raise ValueError(
            "A network must give different images different embeddings: is it made for another "
            f"range of pixels (--input-range)? Received: {network.name}, which takes "
            f"{contract.describe()}, with {NUM_PROBES} equal embeddings"
        )
    adapted.embedding_size = embeddings.shape[1]
    states_shapes = getattr(network, "input_shape", None) == adapted.input_shape
    return network if contract.is_standard and states_shapes else adapted


def contract_of(network: keras.Model) -> InputContract:
    """Return the images that a network of `embedding_network`, or the network inside of it, takes.

    Example:
        >>> from keras_sphereface.models import sphereface4
        >>> contract_of(sphereface4(width=0.05)).describe()
        '112 x 96 RGB, float32 in [-1, 1)'
    """
    if isinstance(network, EmbeddingNetwork):
        return network.contract
    return InputContract(tuple(network.input_shape[1:3]))


def probe_images(image_size: tuple[int, int]) -> np.ndarray:
    """Return `NUM_PROBES` images of colored squares, uint8 (N, H, W, 3), always the same.

    Example:
        >>> probe_images((112, 96)).shape
        (4, 112, 96, 3)
    """
    height, width = image_size
    squares = np.random.default_rng(0).integers(0, 256, (NUM_PROBES, 4, 4, 3), dtype=np.uint8)
    # Squares, not noise: noise is the same gray to every filter.
    rows, columns = np.arange(height) * 4 // height, np.arange(width) * 4 // width
    return squares[:, rows][:, :, columns]


def are_equal(embeddings: np.ndarray) -> bool:
    """Return whether all embeddings (N, D) are the same, but for rounding.

    Example:
        >>> are_equal(np.ones((3, 2))), are_equal(np.eye(2))
        (True, False)
    """
    spread = np.max(np.ptp(embeddings, axis=0), initial=0.0)
    return bool(spread <= EQUAL_SHARE * np.max(np.abs(embeddings), initial=0.0))


def _build_if_sequential(network: keras.Model, image_size: tuple[int, int] | None) -> None:
    """Build a `Sequential` without an input for any batch; by a call it would be for one size."""
    is_open = isinstance(network, keras.Sequential) and not getattr(network, "inputs", None)
    if is_open and image_size:
        with _errors_in_words(network.name, image_size):
            network.build((None, *image_size, RGB))


def _checked_embeddings(network: EmbeddingNetwork) -> np.ndarray:
    """Embed the probes by a network; refuse it if the result is no finite vector for each."""
    name = network.name
    probes = probe_images(network.contract.image_size)
    with _errors_in_words(name, network.contract.image_size):
        outputs = network(unit_from_pixels(probes.astype(np.float32)), training=False)
    if not hasattr(outputs, "shape"):
        raise ValueError(
            "A network must have one output, the embeddings (batch, embedding size). "
            f"Received: {name} with {len(outputs)} outputs"
        )
    shape = tuple(outputs.shape)
    if len(shape) != 2 or shape[0] != len(probes) or not shape[1]:
        raise ValueError(
            "A network must give vectors, (batch, embedding size); a map of features needs a "
            f"pooling or Flatten layer after it. Received: {name}, of {(None, *shape[1:])}"
        )
    embeddings = ops.convert_to_numpy(ops.cast(outputs, "float32"))
    if not np.isfinite(embeddings).all():
        raise ValueError(
            "A network must give finite embeddings. Received: nan or infinity from "
            f"{name}, which takes {network.contract.describe()}"
        )
    return embeddings


@contextlib.contextmanager
def _errors_in_words(name: str, image_size: tuple[int, int]) -> Iterator[None]:
    """Turn what a user's own network raises, of whatever class, into a sentence."""
    try:
        yield
    except Exception as error:
        # Without the colors and the lists of arguments that Keras adds.
        text = re.sub(r"\x1b\[\d+m", "", str(error)).split("Arguments received by")[0]
        raise ValueError(
            f"A network must embed images of {' x '.join(map(str, image_size))}. Received: {name}, "
            f"and {type(error).__name__}: {' '.join(text.split())[:300]}"
        ) from error
