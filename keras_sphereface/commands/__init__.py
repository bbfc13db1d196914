"""One module a command: parse, call, print."""

__all__: list[str] = []
