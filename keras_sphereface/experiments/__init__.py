"""Feature spheres, margin figures, and the comparison of losses."""

__all__: list[str] = []
