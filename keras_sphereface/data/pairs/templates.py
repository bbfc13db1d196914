"""Lists of templates: sets of images of one identity that are compared as a whole."""

import os

from keras_sphereface.utils.text import numbered_lines


def read_templates(path: str | os.PathLike) -> dict[str, list[tuple[str, str]]]:
    """Read a list of templates, a line `path template [medium]` for each image, as IJB has.

    Tabs or spaces separate; a path with spaces needs tabs. Images of a template with the same
    medium are frames of one video; without the column each image is a separate medium.

    Returns:
        {template: [(path, medium)]}.

    Raises:
        ValueError: naming file and line, if a line has another form.

    Reference: Klare et al., "Pushing the frontiers of unconstrained face detection and
    recognition: IARPA Janus Benchmark A", CVPR 2015.

    Example:

    >>> with open("templates.txt", "w") as file:
    ...     _ = file.write("ada/1.jpg t1\\nada/2.jpg t1\\n")
    >>> read_templates("templates.txt")
    {'t1': [('ada/1.jpg', 'ada/1.jpg'), ('ada/2.jpg', 'ada/2.jpg')]}
    """
    templates: dict[str, list[tuple[str, str]]] = {}
    for number, line in numbered_lines(path):
        fields = [field.strip() for field in line.split("\t" if "\t" in line else None)]
        if len(fields) not in (2, 3) or not all(fields):
            raise ValueError(
                f"{path}, line {number}: expected `path template [medium]`. Received: {line!r}"
            )
        key = fields[0].replace("\\", "/")
        medium = fields[2] if len(fields) == 3 else key
        templates.setdefault(fields[1], []).append((key, medium))
    return templates
