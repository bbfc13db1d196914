"""Counts and times of a service in the form of Prometheus; none of them tells who was looked at."""

from typing import Any

import prometheus_client as prometheus

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
CONTENT_TYPE = prometheus.CONTENT_TYPE_LATEST


class ServiceMetrics:
    """The metrics of one service, in a registry of their own.

    Attributes:
        requests: Counter of answers by route, method and status.
        seconds: Histogram of the time of answers by route.
        problems: Counter of refusals by code.
        in_service: Gauge of requests that wait or are worked on.
        batch: Histogram of the faces that were embedded at once.
        faces: Counter of embedded faces.
        identities: Gauge of enrolled identities, when they were last counted.
    """

    def __init__(self) -> None:
        self._registry = prometheus.CollectorRegistry()
        prometheus.ProcessCollector(registry=self._registry)
        common: dict[str, Any] = {"registry": self._registry, "namespace": "sphereface"}
        self.requests = prometheus.Counter(
            "requests", "Answers.", ("route", "method", "status"), **common
        )
        self.seconds = prometheus.Histogram(
            "request_seconds", "Time to the answer.", ("route",), buckets=SECONDS, **common
        )
        self.problems = prometheus.Counter("problems", "Refusals.", ("code",), **common)
        self.in_service = prometheus.Gauge(
            "requests_in_service", "Requests that wait or are worked on.", **common
        )
        self.batch = prometheus.Histogram(
            "batch_faces", "Faces embedded at once.", buckets=SIZES, **common
        )
        self.faces = prometheus.Counter("faces", "Embedded faces.", **common)
        self.identities = prometheus.Gauge(
            "gallery_identities", "Enrolled identities, when last counted.", **common
        )

    def text(self) -> bytes:
        """Return all metrics as Prometheus reads them."""
        return prometheus.generate_latest(self._registry)
