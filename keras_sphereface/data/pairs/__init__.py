"""Readers of pairs and templates."""

__all__: list[str] = []
