"""`tools/export.py`: write TFLite and ONNX files and print how they compare."""

from keras_sphereface.config import ExportConfig
from keras_sphereface.config.parsing import errors_in_one_sentence
from keras_sphereface.evaluation.exported_files import describe, export_all


def main(config: ExportConfig) -> None:
    """Export, and print how the files compare; what users can mend ends in one sentence."""
    with errors_in_one_sentence():
        table = export_all(config)
    print(describe(table, config))
    print(f"written to {config.out}")
