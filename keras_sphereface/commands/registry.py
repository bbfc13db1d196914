"""The subcommands of `sphereface`, in the order in which a newcomer meets them."""

import contextlib
import dataclasses
import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_sphereface.config.average import AverageConfig
from keras_sphereface.config.benchmarks import BENCHMARK_CONFIGS
from keras_sphereface.config.compare import CompareFacesConfig, EmbedConfig, IdentifyFacesConfig
from keras_sphereface.config.convert import ConvertConfig, FacesConfig, PairsConfig
from keras_sphereface.config.demo import DemoConfig
from keras_sphereface.config.evaluate import EvaluateConfig
from keras_sphereface.config.experiments import CompareConfig, MarginFiguresConfig, SpheresConfig
from keras_sphereface.config.export import ExportConfig, ImportWeightsConfig
from keras_sphereface.config.gallery import GALLERY_CONFIGS
from keras_sphereface.config.identify import IDENTIFY_CONFIGS
from keras_sphereface.config.parsing import parse_command, parse_config
from keras_sphereface.config.projection import FitProjectionConfig
from keras_sphereface.config.serve import ServeConfig
from keras_sphereface.config.train import LaunchConfig, TrainConfig
from keras_sphereface.utils.atomic import explain_full_disk

PROGRAM = "sphereface"
# {what a user may call a command: its name}.
SYNONYMS: Mapping[str, str] = {
    **dict.fromkeys(("verify", "test", "lfw"), "evaluate"),
    **dict.fromkeys(("match", "verify-pair"), "compare"),
    **dict.fromkeys(("recognize", "recognise", "find", "search", "who"), "identify"),
    **dict.fromkeys(("enroll", "add", "register"), "gallery"),
    **dict.fromkeys(("prepare", "align", "records", "preprocess"), "convert"),
    **dict.fromkeys(("api", "server", "http"), "serve"),
}
AGAIN = "Free some space and run the same command again"


@dataclasses.dataclass(frozen=True)
class Command:
    """A subcommand.

    Attributes:
        help: What it does, in a line of at most 60 characters.
        config: The class of its settings; of several, {word after the subcommand: class}.
        module: The module of this folder with its function; it may import what takes seconds.
        function: The name of the function, which takes the settings. It prints the results, and
            returns the exit status, or None for 0.
        check: MODULE.FUNCTION of this folder, which looks at the files of the settings before
            anything heavy is imported; "": none.
        needs_tensorflow: Bool. False for what runs without Keras and TensorFlow.
        trains: Bool. Whether most of its time goes into training steps.
    """

    help: str
    config: type | Mapping[str, type]
    module: str
    function: str
    check: str = ""
    needs_tensorflow: bool = True
    trains: bool = False

    def examine(self, config: Any) -> None:
        """Raise what is wrong with the files of the settings, as far as is quickly seen."""
        if self.check:
            # Only now: `--help` needs none of what it imports.
            module, _, function = self.check.partition(".")
            getattr(importlib.import_module(f"{__package__}.{module}"), function)(config)

    def run(self, config: Any) -> int | None:
        """Import the function and call it; errors of the disk and of TensorFlow say what to do."""
        module = importlib.import_module(f"{__package__}.{self.module}")
        function: Callable[[Any], int | None] = getattr(module, self.function)
        with explain_full_disk(out_of(config), AGAIN), self._explain_tensorflow(config):
            return function(config)

    def _explain_tensorflow(self, config: Any) -> contextlib.AbstractContextManager[None]:
        if not self.needs_tensorflow:
            return contextlib.nullcontext()
        from keras_sphereface.utils.tensorflow_errors import explain_tensorflow_errors

        return explain_tensorflow_errors(getattr(config, "data", "") or str(out_of(config)))


COMMANDS: Mapping[str, Command] = {
    "demo": Command(
        "the main job on generated faces, in minutes",
        DemoConfig,
        "demo",
        "run_demo",
        "checks.check_demo",
    ),
    "faces": Command(
        "generate faces in the form of LFW",
        FacesConfig,
        "faces",
        "run_faces",
        needs_tensorflow=False,
    ),
    "pairs": Command(
        "draw pairs for evaluation from a folder of people",
        PairsConfig,
        "pairs",
        "run_pairs",
        "checks.check_drawn_pairs",
        needs_tensorflow=False,
    ),
    "convert": Command(
        "turn images of any source into records",
        ConvertConfig,
        "convert",
        "run_convert",
        needs_tensorflow=False,
    ),
    "train": Command(
        "train a network on records",
        TrainConfig,
        "train",
        "run_train",
        "checks.check_train",
        trains=True,
    ),
    "evaluate": Command(
        "verify pairs of faces with exported networks",
        EvaluateConfig,
        "evaluate",
        "run_evaluate",
        "checks.check_evaluate",
    ),
    "evaluate-identification": Command(
        "find identities in galleries: closed set, open set, ...",
        IDENTIFY_CONFIGS,
        "identify",
        "run_identify",
        "checks.check_identify",
    ),
    "compare": Command(
        "tell whether two images show one person",
        CompareFacesConfig,
        "compare",
        "run_compare",
        "recognition_checks.check_compare_faces",
        needs_tensorflow=False,  # a SavedModel does, and is told from others later
    ),
    "embed": Command(
        "embed the images of a folder",
        EmbedConfig,
        "embed",
        "run_embed",
        "recognition_checks.check_embed",
        needs_tensorflow=False,  # as of compare
    ),
    "gallery": Command(
        "enroll, list, remove, export and index identities",
        GALLERY_CONFIGS,
        "gallery",
        "run_gallery",
        "recognition_checks.check_gallery",
        needs_tensorflow=False,
    ),
    "identify": Command(
        "tell who a face is in a gallery, or that it is unknown",
        IdentifyFacesConfig,
        "identify_faces",
        "run_identify_faces",
        "recognition_checks.check_identify_faces",
        needs_tensorflow=False,  # as of compare
    ),
    "serve": Command(
        "compare, enroll and identify over HTTP, with a page",
        ServeConfig,
        "serve",
        "run_serve",
        "recognition_checks.check_serve",
        needs_tensorflow=False,  # as of compare
    ),
    "export": Command(
        "write a network as TFLite and ONNX, and compare",
        ExportConfig,
        "export",
        "run_export",
        "checks.check_export",
    ),
    "fit-projection": Command(
        "fit LDA, WCCN, PCA or PLDA behind a network",
        FitProjectionConfig,
        "fit_projection",
        "run_fit_projection",
        "checks.check_fit_projection",
    ),
    "average-checkpoints": Command(
        "export the mean of a run's checkpoints",
        AverageConfig,
        "average_checkpoints",
        "run_average_checkpoints",
        "checks.check_average_checkpoints",
    ),
    "import-weights": Command(
        "turn weights of Caffe or PyTorch into a .keras file",
        ImportWeightsConfig,
        "import_weights",
        "run_import_weights",
        "checks.check_import_weights",
    ),
    "spheres": Command(
        "train and draw 2-D and 3-D features for several m",
        SpheresConfig,
        "spheres",
        "run_spheres",
        "checks.check_spheres",
    ),
    "margins": Command(
        "draw the margin and work out the bounds of m",
        MarginFiguresConfig,
        "margins",
        "run_margins",
        "checks.check_margins",
    ),
    "compare-losses": Command(
        "train one network with every loss, and compare",
        CompareConfig,
        "compare_losses",
        "run_compare_losses",
        "checks.check_compare",
    ),
    "benchmark": Command(
        "measure heads, data, training, evaluation, galleries",
        BENCHMARK_CONFIGS,
        "benchmark",
        "run_benchmark",
        "checks.check_benchmark",
    ),
    "launch": Command(
        "train with several workers on this machine",
        LaunchConfig,
        "launch",
        "run_launch",
        "checks.check_launch",
        trains=True,
    ),
}


def out_of(config: Any) -> Path:
    """Return the folder that a command writes to."""
    return Path(getattr(config, "workdir", "") or getattr(config, "out", "") or ".")


def settings_of(name: str, words: Sequence[str]) -> Any:
    """Return the settings that the words after the name of a command make.

    Raises:
        SystemExit: As `config.parsing.parse_config`.

    Example:
        >>> settings_of("margins", ["--out", "runs", "--m", "3"]).m
        3
    """
    config, prog = COMMANDS[name].config, f"{PROGRAM} {name}"
    if isinstance(config, Mapping):
        return parse_command(config, words, prog)[1]
    return parse_config(config, words, prog)
