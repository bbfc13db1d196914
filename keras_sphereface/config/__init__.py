"""One frozen record of settings for each entry point; `parsing` reads them."""

from keras_sphereface.config.average import AverageConfig
from keras_sphereface.config.benchmarks import (
    ConvergenceBenchmarkConfig,
    DataBenchmarkConfig,
    DefaultsBenchmarkConfig,
    EvaluateBenchmarkConfig,
    HeadBenchmarkConfig,
    IntervalsBenchmarkConfig,
    ScalingBenchmarkConfig,
    ServingBenchmarkConfig,
    TrainBenchmarkConfig,
)
from keras_sphereface.config.choices import FORMATS, HEADS, NETWORKS, PROTOCOLS
from keras_sphereface.config.compare import CompareFacesConfig, EmbedConfig, IdentifyFacesConfig
from keras_sphereface.config.convert import ConvertConfig, FacesConfig, PairsConfig
from keras_sphereface.config.evaluate import EvaluateConfig
from keras_sphereface.config.experiments import (
    LOSSES,
    CompareConfig,
    MarginFiguresConfig,
    SpheresConfig,
)
from keras_sphereface.config.export import ExportConfig, ImportWeightsConfig
from keras_sphereface.config.gallery import (
    GalleryCreateConfig,
    GalleryEnrollConfig,
    GalleryExportConfig,
    GalleryListConfig,
    GalleryRemoveConfig,
)
from keras_sphereface.config.identify import ClosedSetConfig, DistractorsConfig, OpenSetConfig
from keras_sphereface.config.parsing import (
    parse_command,
    parse_config,
)
from keras_sphereface.config.projection import FitProjectionConfig
from keras_sphereface.config.serve import ServeConfig
from keras_sphereface.config.settings_files import chosen_settings, read_config, save_config
from keras_sphereface.config.train import LaunchConfig, TrainConfig

__all__ = [
    "FORMATS",
    "HEADS",
    "LOSSES",
    "NETWORKS",
    "PROTOCOLS",
    "AverageConfig",
    "ClosedSetConfig",
    "CompareConfig",
    "CompareFacesConfig",
    "ConvergenceBenchmarkConfig",
    "ConvertConfig",
    "DataBenchmarkConfig",
    "DefaultsBenchmarkConfig",
    "DistractorsConfig",
    "EmbedConfig",
    "EvaluateBenchmarkConfig",
    "EvaluateConfig",
    "ExportConfig",
    "FacesConfig",
    "FitProjectionConfig",
    "GalleryCreateConfig",
    "GalleryEnrollConfig",
    "GalleryExportConfig",
    "GalleryListConfig",
    "GalleryRemoveConfig",
    "HeadBenchmarkConfig",
    "IdentifyFacesConfig",
    "ImportWeightsConfig",
    "IntervalsBenchmarkConfig",
    "LaunchConfig",
    "MarginFiguresConfig",
    "OpenSetConfig",
    "PairsConfig",
    "ScalingBenchmarkConfig",
    "ServeConfig",
    "ServingBenchmarkConfig",
    "SpheresConfig",
    "TrainBenchmarkConfig",
    "TrainConfig",
    "chosen_settings",
    "parse_command",
    "parse_config",
    "read_config",
    "save_config",
]
