"""The result of one system: metrics, a curve, and a row for each probe."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pandas as pd


@dataclasses.dataclass(frozen=True)
class IdentificationMetrics:
    """Numbers that all protocols of identification have; rates are in [0, 1].

    Attributes:
        model: Name of the system.
        missing: {key: reason} of images and templates without an embedding.
        warnings: Findings of the quality checks of images and lists, a sentence each.
        num_probes: Probes that have an embedding.
    """

    model: str
    missing: Mapping[str, str]
    warnings: tuple[str, ...]
    num_probes: int

    @property
    def sizes(self) -> str:
        """The numbers of probes and the like, in words."""
        return f"{self.num_probes:,} probes"

    def measures(self) -> dict[str, float | None]:
        """Return {name: rate} for tables; None where too few probes can measure it."""
        return {}


@dataclasses.dataclass(frozen=True)
class IdentificationResult:
    """The result of one system.

    Attributes:
        metrics: Its numbers.
        curve: Arrays that the plot of the protocol draws.
        probes: A row for each probe.
        nearest_faces: PNG of probes beside the faces nearest to them; None without faces.
    """

    metrics: IdentificationMetrics
    curve: Any
    probes: pd.DataFrame
    nearest_faces: bytes | None = None
