"""Turn class folders of faces into sharded TFRecords; `--help` lists the flags."""

from keras_sphereface.config import RecordsConfig, parse_config
from keras_sphereface.conversion import make_records, summary

if __name__ == "__main__":
    print(summary(make_records(parse_config(RecordsConfig))))
