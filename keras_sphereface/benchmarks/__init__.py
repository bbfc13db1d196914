"""Measured ratios, interleaved."""

__all__: list[str] = []
