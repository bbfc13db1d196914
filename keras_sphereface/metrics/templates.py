"""Templates: one embedding for all images and video frames of an identity."""

import numpy as np

from keras_sphereface.metrics.vectors import unit_rows


def template_means(
    embeddings: np.ndarray,
    templates: np.ndarray,
    media: np.ndarray | None = None,
    *,
    normalize: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean embedding of each template, with every medium counted once.

    The frames of one video are similar, so the frames of one medium are averaged first, and
    then the media of one template.

    Embeddings enter with their norms, as usual for IJB: a blurred or half hidden face tends to a
    short embedding, and so counts for less. The means are not normalized either; their cosine does
    not depend on it.

    Args:
        embeddings: (N, D), of images and frames.
        templates: (N,) integers or strings, the template of each image.
        media: (N,) integers or strings, the image or video that it comes from; a medium may
            serve several templates. None: each is a separate medium.
        normalize: Bool. Bring the embedding of each image to unit length first.

    Returns:
        The templates (T,), rising, and their means (T, D), float32, or float64 if `embeddings`
        are.

    Raises:
        ValueError: if shapes do not fit, or an embedding is not finite (or zero, with
            `normalize`).

    References: Klare et al., "IARPA Janus Benchmark A", CVPR 2015; Whitelam et al., "IARPA
    Janus Benchmark-B", CVPRW 2017.

    Example:
        >>> embeddings = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> template_means(embeddings, np.array(["a", "a", "a"]), np.array([7, 7, 8]))
        (array(['a'], dtype='<U1'), array([[0.5, 0.5]]))
    """
    embeddings, templates = np.asarray(embeddings), np.asarray(templates)
    media = np.arange(len(templates)) if media is None else np.asarray(media)
    _check_images(embeddings, templates, media)
    if normalize:
        embeddings = unit_rows(embeddings, "embeddings")
    names, template_codes = np.unique(templates, return_inverse=True)
    media_names, media_codes = np.unique(media, return_inverse=True)
    # One number for a medium within a template.
    numbers = template_codes * len(media_names) + media_codes
    groups, group_codes = np.unique(numbers, return_inverse=True)
    means = _group_means(_group_means(embeddings, group_codes), groups // len(media_names))
    return names, means.astype(np.result_type(embeddings.dtype, np.float32), copy=False)


def _check_images(embeddings: np.ndarray, templates: np.ndarray, media: np.ndarray) -> None:
    has_rows = embeddings.ndim == 2 and len(embeddings) > 0
    if not has_rows or not templates.shape == media.shape == embeddings.shape[:1]:
        arrays = {"embeddings": embeddings, "templates": templates, "media": media}
        shapes = {name: array.shape for name, array in arrays.items()}
        raise ValueError(
            "`embeddings` must be (N, D), N >= 1, and `templates` and `media` (N,). "
            f"Received: {shapes}"
        )
    if not np.isfinite(embeddings).all():
        row = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))[0]
        raise ValueError(f"`embeddings` must be finite. Received: nan or infinity in row {row}")


def _group_means(rows: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Average rows (N, D) in groups (N,) 0, 1, ..., G - 1; float64 (G, D)."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    counts = np.bincount(groups)
    return np.add.reduceat(rows[order], starts, dtype=np.float64) / counts[:, None]
