"""The mean of a run's checkpoints (Izmailov et al., UAI 2018), and batch normalization for it."""

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_sphereface.config.average import AverageConfig
from keras_sphereface.data import pipeline, records
from keras_sphereface.export.backbone import load_backbone
from keras_sphereface.export.run_files import NETWORK_FILE
from keras_sphereface.export.saved_model import export_savedmodel
from keras_sphereface.training.checkpoints import FOLDER, WEIGHTS
from keras_sphereface.training.run_config import saved_settings
from keras_sphereface.training.starting_point import save_network
from keras_sphereface.utils.progress import log, progress_bar


def average_checkpoints(config: AverageConfig) -> Path:
    """Average the weights of a run's checkpoints, and export the network.

    Args:
        config: Run, steps and output folder.

    Returns:
        The folder of the SavedModel, `OUT/export`.

    Raises:
        FileNotFoundError: If the run has not ended, or a checkpoint does not exist.
        ValueError: If there are fewer than two checkpoints, or they are those of another network.

    Example:
        >>> average_checkpoints(AverageConfig(workdir="model", out="averaged"))
        Traceback (most recent call last):
        FileNotFoundError: `workdir` must be the folder of a run that has ended, ...
    """
    run, out = Path(config.workdir), Path(config.out)
    if not (run / NETWORK_FILE).is_file():
        raise FileNotFoundError(
            f"`workdir` must be the folder of a run that has ended, which holds {NETWORK_FILE}. "
            f"Received: workdir={run}"
        )
    folders = checkpoints_of(run, config.steps)
    network = load_backbone(run / NETWORK_FILE)
    give_mean_weights(network, folders)
    log(f"the mean of {len(folders)} checkpoints: {', '.join(one.name for one in folders)}")
    if batch_norm_layers(network):
        data = config.data or saved_settings(run)["data"]
        recompute_batch_norm(network, _images(data, config.batch_size, config.num_images))
    out.mkdir(parents=True, exist_ok=True)
    folder = export_savedmodel(network, out / "export")
    save_network(out, network)
    return folder


def checkpoints_of(run: Path, steps: Sequence[int] = ()) -> list[Path]:
    """Return the folders of a run's checkpoints, at least two, in the order of their steps.

    Args:
        run: Folder of the run.
        steps: Those to return; all but that of step 0 if empty.

    Raises:
        FileNotFoundError: If one of `steps` does not exist.
        ValueError: If they are fewer than two.
    """
    matches = (FOLDER.fullmatch(path.name) for path in (run / "checkpoints").glob("*"))
    by_step = {int(match[1]): run / "checkpoints" / match[0] for match in matches if match}
    missing = sorted(set(steps) - set(by_step))
    if missing:
        raise FileNotFoundError(
            f"{run / 'checkpoints'} holds the steps {sorted(by_step)}; keep more of them by "
            f"--keep-checkpoints. Received: steps={tuple(steps)}"
        )
    chosen = sorted(set(steps) or {step for step in by_step if step})
    if len(chosen) < 2:
        raise ValueError(
            "A mean is of two checkpoints or more; keep more of them by --keep-checkpoints. "
            f"Received: steps {chosen} in {run / 'checkpoints'}"
        )
    return [by_step[step] for step in chosen]


def give_mean_weights(network: keras.Model, folders: Sequence[Path]) -> None:
    """Set all weights of a network to their means over checkpoints.

    Raises:
        ValueError: If a checkpoint is damaged, or is that of another network.
    """
    checkpoint = tf.train.Checkpoint(backbone=network)
    sums = [np.zeros(weight.shape) for weight in network.weights]
    for folder in folders:
        try:
            status = checkpoint.read(str(folder / WEIGHTS))
            status.expect_partial().assert_existing_objects_matched()
        # TensorFlow's errors of files that are missing, cut short or of another form.
        except (tf.errors.OpError, AssertionError, ValueError) as error:
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise ValueError(
                f"{folder} must be a checkpoint of the network of its run. Received: {reason}"
            ) from error
        # In float64: the mean of many float32 numbers would lose digits.
        weights = [np.asarray(weight, np.float64) for weight in network.get_weights()]
        sums = [total + weight for total, weight in zip(sums, weights, strict=True)]
    network.set_weights([total / len(folders) for total in sums])


def batch_norm_layers(network: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Return the layers of batch normalization at any depth."""
    return [
        layer
        for layer in network._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]


def recompute_batch_norm(network: keras.Model, batches: Iterable[tf.Tensor]) -> None:
    """Set the moving statistics of batch normalization to their means over batches.

    Those of each checkpoint are of other weights than the mean. Nothing else changes. Layers that
    are frozen keep their statistics.

    Args:
        network: Network from float images (B, H, W, 3) in [-1, 1).
        batches: Images as it takes them.

    Example:
        >>> layer = keras.layers.BatchNormalization()
        >>> network = keras.Sequential([keras.Input((1,)), layer])
        >>> batches = [tf.constant([[1.0], [3.0]]), tf.constant([[4.0], [8.0]])]
        >>> recompute_batch_norm(network, batches)
        >>> layer.moving_mean.numpy(), layer.moving_variance.numpy()
        (array([4.], dtype=float32), array([2.5], dtype=float32))
    """
    layers = batch_norm_layers(network)
    momenta = [layer.momentum for layer in layers]
    try:
        for number, images in enumerate(batches):
            for layer in layers:
                # The mean of the batches so far; the first replaces what was there.
                layer.momentum = number / (number + 1)
            network(images, training=True)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum


def _images(data: str, batch_size: int, num_images: int) -> Iterable[tf.Tensor]:
    """Yield batches of the first images of records, all of one size."""
    count = min(num_images, records.read_info(data).num_images)
    batches = pipeline.evaluation_batches(data, min(batch_size, count))
    numbers = max(1, count // batch_size)
    with progress_bar(total=numbers, desc="batch normalization", unit="batch") as bar:
        for images, _ in itertools.islice(batches, numbers):
            yield images
            bar.update(1)
