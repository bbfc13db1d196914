"""2-D and 3-D embeddings, drawn side by side."""

__all__: list[str] = []
