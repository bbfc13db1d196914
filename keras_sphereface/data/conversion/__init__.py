"""Sources of faces -> sharded TFRecords."""

from keras_sphereface.data.conversion.convert import EmptyDatasetError, make_records
from keras_sphereface.data.conversion.exclusions import Exclusions, read_exclusions
from keras_sphereface.data.conversion.generated import GeneratedRecords, generated_records

__all__ = [
    "EmptyDatasetError",
    "Exclusions",
    "GeneratedRecords",
    "generated_records",
    "make_records",
    "read_exclusions",
]
