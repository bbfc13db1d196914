"""Helpers without a domain; import them from their modules."""

__all__: list[str] = []
