"""`FacePreprocessing`: augmentation and scaling as the first layer of a model."""

from typing import Any

import keras
import tensorflow as tf

from keras_sphereface.data import augmentation, preprocessing
from keras_sphereface.utils.compat import add_replicated_weight
from keras_sphereface.utils.validation import check_integer, check_real


@keras.saving.register_keras_serializable(package="keras_sphereface")
class FacePreprocessing(keras.layers.Layer):
    """Images (B, H, W, 3), pixels 0..255 -> the input of a backbone, in [-1, 1).

    With `training=True` the images are augmented before they are scaled. The random numbers come
    from `seed` and from the number of training calls so far, which is a weight: a saved model
    continues with new ones. Each replica of a strategy draws its own.

        model = keras.Sequential([keras.Input((112, 96, 3), dtype="uint8"),
                                  FacePreprocessing(), sphereface20(), ASoftmax(num_classes)])
        model.fit(pipeline.training_batches(folder, 256, seed=0, augment=None), ...)

    A network that begins with this layer is trained, exported and verified as one that takes pixels
    0..255.

    Args:
        flip: Bool. Mirror half of the images.
        shift, zoom, rotation, brightness, contrast, erase, crop, saturation, low_resolution:
            Floats as those of `Augmentation`, each within its `augmentation.RANGES`.
        seed: Int >= 0. Seed for the augmentation.
        **kwargs: `name` and `dtype`, as for any Keras layer.

    Raises:
        TypeError, ValueError: If an argument is out of range.

    Example:
        >>> images = np.full((1, 2, 2, 3), 255, "uint8")
        >>> float(np.max(FacePreprocessing(shift=4.0)(images)))
        0.99609375
    """

    input_range = "raw"  # read by `models.input_contract`

    def __init__(
        self,
        flip: bool = True,
        shift: float = 0.0,
        zoom: float = 0.0,
        rotation: float = 0.0,
        brightness: float = 0.0,
        contrast: float = 0.0,
        erase: float = 0.0,
        crop: float = 0.0,
        saturation: float = 0.0,
        low_resolution: float = 0.0,
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if not isinstance(flip, bool):
            raise TypeError(f"`flip` must be True or False. Received: flip={flip!r}")
        self.flip = flip
        self.shift = _checked(shift, "shift")
        self.zoom = _checked(zoom, "zoom")
        self.rotation = _checked(rotation, "rotation")
        self.brightness = _checked(brightness, "brightness")
        self.contrast = _checked(contrast, "contrast")
        self.erase = _checked(erase, "erase")
        self.crop = _checked(crop, "crop")
        self.saturation = _checked(saturation, "saturation")
        self.low_resolution = _checked(low_resolution, "low_resolution")
        self.seed = check_integer(seed, "seed", 0)
        # XLA has no kernel for the resampling; Keras 3 asks before it compiles a model with it.
        self.supports_jit = not (self.shift or self.zoom or self.rotation or self.crop)

    @property
    def augment(self) -> augmentation.Augmentation:
        """The augmentation of training images."""
        return augmentation.Augmentation(
            **{name: getattr(self, name) for name in augmentation.Augmentation._fields}
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.step = add_replicated_weight(self, name="step")
        self.built = True

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        if training:
            self.step.assign_add(1)
            context = tf.distribute.get_replica_context()
            replicas = context.num_replicas_in_sync if context else 1
            replica = context.replica_id_in_sync_group if context else 0
            # The seed is an int32.
            step = tf.cast(tf.convert_to_tensor(self.step) % 2**20, tf.int32)
            images = self.augment(images, seed=(self.seed, step * replicas + replica))
        return tf.cast(preprocessing.normalize(images), self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.augment._asdict(), "seed": self.seed}


def _checked(value: float, name: str) -> float:
    return check_real(value, name, *augmentation.RANGES[name])
