"""The subcommands of `sphereface`, in the order in which a newcomer meets them."""

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from typing import Any

from keras_sphereface.config.benchmarks import BENCHMARK_CONFIGS
from keras_sphereface.config.convert import ConvertConfig, FacesConfig
from keras_sphereface.config.demo import DemoConfig
from keras_sphereface.config.evaluate import EvaluateConfig
from keras_sphereface.config.experiments import CompareConfig, MarginFiguresConfig, SpheresConfig
from keras_sphereface.config.export import ExportConfig
from keras_sphereface.config.identify import IDENTIFY_CONFIGS
from keras_sphereface.config.train import LaunchConfig, TrainConfig


@dataclasses.dataclass(frozen=True)
class Command:
    """A subcommand.

    Attributes:
        help: What it does, in a line of at most 60 characters.
        config: The class of its settings; of several, {word after the subcommand: class}.
        module: The module of this folder with its function; it may import what takes seconds.
        function: The name of the function, which takes the settings. It prints the results, and
            returns the exit status, or None for 0.
        needs_tensorflow: Bool. False for what runs without Keras and TensorFlow.
    """

    help: str
    config: type | Mapping[str, type]
    module: str
    function: str
    needs_tensorflow: bool = True

    def run(self, config: Any) -> int | None:
        """Import the function and call it."""
        module = importlib.import_module(f"{__package__}.{self.module}")
        function: Callable[[Any], int | None] = getattr(module, self.function)
        return function(config)


COMMANDS: Mapping[str, Command] = {
    "demo": Command("the main job on generated faces, in minutes", DemoConfig, "demo", "run_demo"),
    "faces": Command("generate faces in the form of LFW", FacesConfig, "faces", "run_faces", False),
    "convert": Command(
        "turn images of any source into records", ConvertConfig, "convert", "run_convert", False
    ),
    "train": Command("train a network on records", TrainConfig, "train", "run_train"),
    "evaluate": Command(
        "verify pairs of faces with exported networks", EvaluateConfig, "evaluate", "run_evaluate"
    ),
    "evaluate-identification": Command(
        "find identities in galleries: closed set, open set, ...",
        IDENTIFY_CONFIGS,
        "identify",
        "run_identify",
    ),
    "export": Command(
        "write a network as TFLite and ONNX, and compare", ExportConfig, "export", "run_export"
    ),
    "spheres": Command(
        "train and draw 2-D and 3-D features for several m", SpheresConfig, "spheres", "run_spheres"
    ),
    "margins": Command(
        "draw the margin and work out the bounds of m",
        MarginFiguresConfig,
        "margins",
        "run_margins",
    ),
    "compare-losses": Command(
        "train one network with every loss, and compare",
        CompareConfig,
        "compare_losses",
        "run_compare_losses",
    ),
    "benchmark": Command(
        "measure heads, data, training, evaluation", BENCHMARK_CONFIGS, "benchmark", "run_benchmark"
    ),
    "launch": Command(
        "train with several workers on this machine", LaunchConfig, "launch", "run_launch"
    ),
}
