"""The classes of settings, and files of them."""

from keras_sphereface import config
from keras_sphereface.config.demo import DemoConfig

CONFIG_CLASSES = (
    config.FacesConfig,
    config.PairsConfig,
    config.ConvertConfig,
    config.TrainConfig,
    config.LaunchConfig,
    config.EvaluateConfig,
    config.AverageConfig,
    config.ExportConfig,
    config.FitProjectionConfig,
    config.ImportWeightsConfig,
    config.ClosedSetConfig,
    config.OpenSetConfig,
    config.DistractorsConfig,
    config.CompareFacesConfig,
    config.IdentifyFacesConfig,
    config.EmbedConfig,
    config.GalleryCreateConfig,
    config.GalleryEnrollConfig,
    config.GalleryListConfig,
    config.GalleryRemoveConfig,
    config.GalleryExportConfig,
    config.ServeConfig,
    config.SpheresConfig,
    config.HeadBenchmarkConfig,
    config.ConvergenceBenchmarkConfig,
    config.DataBenchmarkConfig,
    config.TrainBenchmarkConfig,
    config.EvaluateBenchmarkConfig,
    config.IntervalsBenchmarkConfig,
    config.ServingBenchmarkConfig,
    config.MarginFiguresConfig,
    config.CompareConfig,
    DemoConfig,
)


def written(folder, text, name="settings.yaml"):
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)
