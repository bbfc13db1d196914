"""Readers of images: class folders, list files, archives, RecordIO and parquet."""

from keras_sphereface.data.readers.archives import read_tar, read_zip
from keras_sphereface.data.readers.class_folders import read_class_folders
from keras_sphereface.data.readers.list_file import read_list_file
from keras_sphereface.data.readers.parquet import read_parquet
from keras_sphereface.data.readers.recordio import read_recordio
from keras_sphereface.data.readers.source import Source, open_source

__all__ = [
    "Source",
    "open_source",
    "read_class_folders",
    "read_list_file",
    "read_parquet",
    "read_recordio",
    "read_tar",
    "read_zip",
]
