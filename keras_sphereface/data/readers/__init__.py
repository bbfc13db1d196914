"""Readers of sources: class folders, lists, archives, RecordIO, parquet."""

__all__: list[str] = []
