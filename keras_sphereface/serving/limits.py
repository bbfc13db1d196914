"""Bounds of a service: what a request may bring, how long it may take, how many may wait."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class ServiceLimits:
    """Bounds of a service.

    The encoded images that wait take at most `queue_size * max_body_bytes` of memory; of decoded
    ones there are three at a time.

    Attributes:
        max_body_bytes: Bytes of a request, with all of its images.
        max_pixels: Pixels of an image, height times width.
        max_images: Images of one enrollment.
        queue_size: Requests in service, waiting or worked on; one more is answered by 503.
        batch_size: Faces embedded at once.
        read_seconds: Time to receive the head of a request, and then its body.
        answer_seconds: Time from the body to the answer.
        stop_seconds: Time to answer what is in service when the service is stopped.

    Example:
        >>> ServiceLimits(queue_size=8).queue_size
        8
    """

    max_body_bytes: int = 16 * 2**20
    max_pixels: int = 25_000_000
    max_images: int = 10
    queue_size: int = 64
    batch_size: int = 32
    read_seconds: float = 20.0
    answer_seconds: float = 30.0
    stop_seconds: float = 30.0
