"""`sphereface export`: write TFLite and ONNX files and print how they compare."""

from keras_sphereface.config.export import ExportConfig
from keras_sphereface.evaluation.export_comparison import comparison_table, export_and_compare


def run_export(config: ExportConfig) -> None:
    """Export and print how the files compare."""
    rows = export_and_compare(config)
    print(comparison_table(rows))
    print(f"written to {config.out}")
