"""Templates: one embedding for all that is known of a person, images and frames of videos."""

import numpy as np

from keras_sphereface.metrics.identification import search


def template_means(
    embeddings: np.ndarray,
    templates: np.ndarray,
    media: np.ndarray | None = None,
    *,
    normalize: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """The mean embedding of each template, every medium counted once.

    The frames of one video are much alike: those of one medium are averaged first, and then
    the media of one template.

    Images enter as the network gives them, as usual for IJB: a blurred or half hidden face
    tends to a short embedding, and so counts for less. The means are not normalized either;
    the cosine of two does not ask for it.

    Args:
        embeddings: (N, D), of images and frames.
        templates: (N,) integers or strings, the template that an image is of.
        media: (N,) integers or strings, the image or video that it comes from; a medium may
            serve several templates. None: each is a medium of its own.
        normalize: whether each image's embedding is brought to unit length first.

    Returns:
        The templates (T,), rising, and their means (T, D), float32, or float64 if `embeddings`
        are.

    Raises:
        ValueError: if shapes do not fit, or an embedding is not finite (or zero, where it is
            to be normalized).

    References: Klare et al., "IARPA Janus Benchmark A", CVPR 2015; Whitelam et al., "IARPA
    Janus Benchmark-B", CVPRW 2017.
    """
    embeddings, templates = np.asarray(embeddings), np.asarray(templates)
    media = np.arange(len(templates)) if media is None else np.asarray(media)
    _check_images(embeddings, templates, media)
    if normalize:
        embeddings = search.unit_rows(embeddings, "embeddings")
    names, of_template = np.unique(templates, return_inverse=True)
    media_names, of_medium = np.unique(media, return_inverse=True)
    # One number for a medium within a template.
    parts, of_part = np.unique(of_template * len(media_names) + of_medium, return_inverse=True)
    means = _group_means(_group_means(embeddings, of_part), parts // len(media_names))
    return names, means.astype(np.result_type(embeddings.dtype, np.float32), copy=False)


def _check_images(embeddings, templates, media):
    shapes = {"embeddings": embeddings.shape, "templates": templates.shape, "media": media.shape}
    fitting = embeddings.ndim == 2 and len(embeddings) > 0
    if not fitting or not templates.shape == media.shape == embeddings.shape[:1]:
        raise ValueError(
            "`embeddings` must be (N, D), N >= 1, and `templates` and `media` (N,). "
            f"Received: {shapes}"
        )
    if not np.isfinite(embeddings).all():
        row = np.flatnonzero(~np.isfinite(embeddings).all(1))[0]
        raise ValueError(f"`embeddings` must be finite. Received: nan or infinity in row {row}")


def _group_means(rows, groups):
    """Rows (N, D) in groups (N,) 0, 1, ..., G - 1 -> float64 (G, D)."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    counts = np.bincount(groups)
    return np.add.reduceat(rows[order], starts, dtype=np.float64) / counts[:, None]
