"""Sources of faces to sharded TFRecords."""

__all__: list[str] = []
