"""Exported embedding networks, whatever their format: SavedModel, TensorFlow Lite or ONNX."""

import contextlib
import dataclasses
import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

SIGNATURE = "serving_default"
INPUT, OUTPUT = "images", "embeddings"
EXPECTED = f"`{INPUT}` uint8 (N, H, W, 3), H and W fixed -> `{OUTPUT}` float32 (N, D)"
ALLOWED = "a SavedModel folder (with saved_model.pb), a *.tflite or a *.onnx file"
# Words in the name of a file or folder that tell nothing of the network in it.
_NO_NAME = {"embedding", "embeddings", "export", "float", "int", "model", "network", "saved"}


@dataclasses.dataclass(frozen=True)
class Network:
    """An exported embedding network, for one thread at a time.

    Called with images, uint8 (N, H, W, 3), any N >= 1, it gives their embeddings of one
    view, float32 (N, D).
    """

    name: str  # what to call it in a table
    image_size: tuple[int, int]  # (height, width)
    batch_size: int | None  # where the network takes this number of images and no other
    embedding_size: int | None  # D, where the file tells it
    # What the runtime makes of one batch.
    run: Callable[[np.ndarray], np.ndarray] = dataclasses.field(repr=False)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        _check_images(images, self.image_size)
        count = len(images)
        size = self.batch_size or count
        batches = []
        for start in range(0, count, size):
            # The last image fills up what is missing of a whole batch.
            chosen = np.minimum(np.arange(start, start + size), count - 1)
            batches.append(self._run_checked(np.ascontiguousarray(images[chosen])))
        return np.concatenate(batches)[:count]

    def both_views(self, images: np.ndarray) -> np.ndarray:
        """uint8 (N, H, W, 3) -> float32 (N, 2 D): the images and their mirror images."""
        views = [self(view) for view in (images, images[:, :, ::-1])]
        return np.concatenate(views, axis=-1)

    def _run_checked(self, batch):
        try:
            embeddings = self.run(batch)
        # Too little memory, or an operation that this machine has not.
        except (tf.errors.OpError, RuntimeError) as error:
            raise ValueError(
                f"{self.name} cannot embed {len(batch)} images at once. Received: {error}"
            ) from error
        shape = np.shape(embeddings)
        wrong_size = len(shape) == 2 and self.embedding_size not in (None, shape[1])
        if len(shape) != 2 or shape[0] != len(batch) or wrong_size:
            raise ValueError(
                f"`{OUTPUT}` of {self.name} must be of shape "
                f"({len(batch)}, {self.embedding_size or 'D'}) for {len(batch)} images. "
                f"Received: shape {shape}"
            )
        return embeddings


class Spec(NamedTuple):
    """A tensor of a signature."""

    dtype: str
    shape: tuple[int | None, ...] | None  # None where a size, or the whole shape, is open


def open_network(path: str | os.PathLike) -> Network:
    """Open an exported network: a SavedModel folder, a *.tflite or a *.onnx file.

    Its signature, `serving_default` where the format has signatures, must be `images` uint8
    (N, H, W, 3) -> `embeddings` float32 (N, D), whoever wrote it. N may be fixed.

    Raises:
        FileNotFoundError: if there is no such file or folder, or no SavedModel in it.
        ValueError: if it is of another kind or has another signature; the message says what
            was found.
        ImportError: for ONNX without onnxruntime.
    """
    path = Path(path)
    if path.is_dir():
        return _open_savedmodel(path)
    if not path.is_file():
        raise FileNotFoundError(f"A network must be {ALLOWED}. Received: {path}, which is absent")
    openers = {".tflite": _open_tflite, ".onnx": _open_onnx}
    opener = openers.get(path.suffix.lower())
    if opener is None:
        raise ValueError(f"A network must be {ALLOWED}. Received: {path}")
    return opener(path)


def load_savedmodel(folder: Path):
    """The SavedModel in `folder`, whose signature `serving_default` is as it must be.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if its signature is another.
    """
    if not (folder / "saved_model.pb").is_file():
        raise FileNotFoundError(
            f"A network must be {ALLOWED}. Received: {folder}, a folder without saved_model.pb"
        )
    model = tf.saved_model.load(str(folder))
    _check_signature_name(folder, model.signatures)
    inputs, outputs = _specs_of(model.signatures[SIGNATURE])
    check_signature(folder, inputs, outputs)
    return model


def check_signature(
    path: str | os.PathLike, inputs: Mapping[str, Spec], outputs: Mapping[str, Spec]
) -> None:
    """Refuse a network whose inputs and outputs are not as every network's must be.

    Outputs beside `embeddings` do not matter.

    Raises:
        ValueError: if so; the message says what was found, and what to rename if that is all.
    """
    fits_in = _is_batch_of_images(inputs.get(INPUT)) and len(inputs) == 1
    fits_out = _is_batch_of_embeddings(outputs.get(OUTPUT))
    if fits_in and fits_out:
        return
    hints = [
        f" Rename its {kind} `{name}` to `{right}`."
        for kind, specs, right, fits in (
            ("input", inputs, INPUT, _is_batch_of_images),
            ("output", outputs, OUTPUT, _is_batch_of_embeddings),
        )
        for name, spec in specs.items()
        if len(specs) == 1 and name != right and fits(spec)
    ]
    raise ValueError(
        f"The signature of a network must be {EXPECTED}.{''.join(hints)} "
        f"Received: {_shown(inputs)} -> {_shown(outputs)} in {path}"
    )


@contextlib.contextmanager
def without_noise() -> Iterator[None]:
    """Keep away what the libraries of other formats write to stderr, log and warn of.

    They tell how they work, whatever the network; what goes wrong they raise. The process has
    no stderr meanwhile.
    """
    disabled = logging.root.manager.disable
    stderr = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere, warnings.catch_warnings():
            os.dup2(nowhere.fileno(), 2)
            logging.disable(logging.WARNING)
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        logging.disable(disabled)


def network_name(path: str | os.PathLike) -> str:
    """What to call a network in a table: the end of its path, from the first word that tells.

    `runs/casia/export` is casia/export, `runs/casia/model-int8.tflite` casia/model-int8.tflite,
    `downloads/mobilefacenet.onnx` mobilefacenet.onnx.
    """
    parts = Path(os.path.abspath(path)).parts[1:]
    for start in range(len(parts) - 1, 0, -1):
        stem = Path(parts[start]).stem.lower()
        if set(re.findall(r"[^\W\d_]+", stem)) - _NO_NAME:
            break
    else:
        start = 0
    return "/".join(parts[start:])


def _open_savedmodel(folder):
    model = load_savedmodel(folder)

    def run(batch):
        # Through `model`, which keeps the variables alive as the signature alone does not.
        return model.signatures[SIGNATURE](**{INPUT: tf.constant(batch)})[OUTPUT].numpy()

    return _network(folder, *_specs_of(model.signatures[SIGNATURE]), run)


def _open_tflite(path):
    try:
        with without_noise():
            interpreter = tf.lite.Interpreter(model_path=str(path), num_threads=os.cpu_count())
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{path} is no TensorFlow Lite network: {error}") from error
    _check_signature_name(path, interpreter.get_signature_list())
    runner = interpreter.get_signature_runner(SIGNATURE)
    inputs, outputs = (
        {name: _tflite_spec(details) for name, details in tensors.items()}
        for tensors in (runner.get_input_details(), runner.get_output_details())
    )
    return _network(path, inputs, outputs, lambda batch: runner(**{INPUT: batch})[OUTPUT])


def _open_onnx(path):
    try:
        with without_noise():
            import onnxruntime
    except ImportError as error:
        raise ImportError(
            "Opening an ONNX network needs onnxruntime: pip install keras-sphereface[onnx]"
        ) from error
    # Not those of other kinds, which are listed even where they cannot work.
    providers = {"CUDAExecutionProvider", "CPUExecutionProvider"}
    available = [name for name in onnxruntime.get_available_providers() if name in providers]
    try:
        with without_noise():
            session = onnxruntime.InferenceSession(str(path), providers=available)
    except Exception as error:  # onnxruntime's errors share no narrower class
        raise ValueError(f"{path} is no ONNX network that can be run: {error}") from error
    inputs, outputs = (
        {node.name: _onnx_spec(node) for node in nodes}
        for nodes in (session.get_inputs(), session.get_outputs())
    )
    return _network(path, inputs, outputs, lambda batch: session.run([OUTPUT], {INPUT: batch})[0])


def _network(path, inputs, outputs, run):
    check_signature(path, inputs, outputs)
    batch_size, height, width, _ = inputs[INPUT].shape
    shape = outputs[OUTPUT].shape
    return Network(network_name(path), (height, width), batch_size, shape and shape[1], run)


def _specs_of(function):
    """The inputs and outputs of a SavedModel's signature."""

    def spec(tensor):
        shape = tensor.shape
        return Spec(tensor.dtype.name, None if shape.rank is None else tuple(shape))

    inputs = function.structured_input_signature[1]
    return tuple(
        {name: spec(tensor) for name, tensor in tensors.items()}
        for tensors in (inputs, function.structured_outputs)
    )


def _tflite_spec(details):
    # Without a shape the whole of it is open: networks have no scalars.
    shape = tuple(None if size == -1 else int(size) for size in details["shape_signature"])
    return Spec(np.dtype(details["dtype"]).name, shape or None)


def _onnx_spec(node):
    # The names of ONNX, "tensor(float)"; an open size has a name instead of a number.
    dtype = node.type.removeprefix("tensor(").removesuffix(")")
    shape = tuple(size if isinstance(size, int) else None for size in node.shape or ())
    return Spec({"float": "float32", "double": "float64"}.get(dtype, dtype), shape or None)


def _is_batch_of_images(spec):
    return (
        spec is not None
        and spec.dtype == "uint8"
        and spec.shape is not None
        and len(spec.shape) == 4
        and spec.shape[-1] == 3
        and None not in spec.shape[1:]
        and 0 not in spec.shape
    )


def _is_batch_of_embeddings(spec):
    return (
        spec is not None
        and spec.dtype == "float32"
        and (spec.shape is None or len(spec.shape) == 2)
    )


def _check_signature_name(path, signatures):
    if SIGNATURE not in signatures:
        raise ValueError(
            f"A network needs a signature {SIGNATURE}, {EXPECTED}. "
            f"Received: {path} with signatures {sorted(signatures)}"
        )


def _check_images(images, image_size):
    shape, dtype = np.shape(images), getattr(images, "dtype", None)
    if dtype != np.uint8 or len(shape) != 4 or not shape[0] or shape[1:] != (*image_size, 3):
        height, width = image_size
        raise ValueError(
            f"`images` must be uint8 (N, {height}, {width}, 3) with N >= 1. "
            f"Received: {dtype} {shape}"
        )


def _shown(specs):
    """A signature's side in the words of the message."""
    return ", ".join(f"`{name}` {spec.dtype} {_shown_shape(spec)}" for name, spec in specs.items())


def _shown_shape(spec):
    if spec.shape is None:
        return "(of any rank)"
    return f"({', '.join('?' if size is None else str(size) for size in spec.shape)})"
