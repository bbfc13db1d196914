"""One network with every loss, under one budget."""

__all__: list[str] = []
