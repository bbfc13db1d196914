"""The badges of the README, from pyproject.toml; `python -m tests.helpers.badges` draws them."""

import re

from tests.conftest import ROOT

FOLDER = ROOT / "docs" / "images" / "badges"
# One width for every letter: a viewer's font may be any.
LETTER, PADDING, HEIGHT = 6.6, 8, 20

SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" role="img">
  <title>{name}: {value}</title>
  <rect width="{width}" height="{height}" rx="3" fill="#484f58"/>
  <path d="M{split} 0h{rest}a3 3 0 0 1 3 3v14a3 3 0 0 1 -3 3h-{rest}z" fill="#0a5fb4"/>
  <g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">
    <text x="{name_x}" y="14" textLength="{name_length}">{name}</text>
    <text x="{value_x}" y="14" textLength="{value_length}">{value}</text>
  </g>
</svg>
"""


def badge(name, value):
    """Return the SVG of a badge with two fields."""
    lengths = [round(LETTER * len(text)) for text in (name, value)]
    split, rest = (length + 2 * PADDING for length in lengths)
    return SVG.format(
        name=name,
        value=value,
        width=split + rest,
        height=HEIGHT,
        split=split,
        rest=rest - 3,
        name_x=split / 2,
        name_length=lengths[0],
        value_x=split + rest / 2,
        value_length=lengths[1],
    )


def badges():
    """Return file names and SVGs, from the metadata of the package."""
    metadata = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    pythons = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', metadata)
    backends = {"jax": "JAX", "torch": "PyTorch"}
    others = [title for extra, title in backends.items() if f"\n{extra} = [" in metadata]
    tensorflow = re.search(r'"tensorflow>=(\d+\.\d+)', metadata)[1]
    keras = re.search(r'"keras>=(\d+\.\d+),(.*)",', metadata)
    first_of_keras_3 = len(re.findall(r"!=3\.", keras[2]))
    license_name = re.search(r'^license = "(.+)"', metadata, re.MULTILINE)[1]
    return {
        "python.svg": badge("Python", f"{pythons[0]} to {pythons[-1]}"),
        "tensorflow.svg": badge("TensorFlow", f"{tensorflow} or later"),
        "keras.svg": badge("Keras", f"{keras[1]}, 3.{first_of_keras_3} or later"),
        "backends.svg": badge("layers on", ", ".join(["TensorFlow", *others])),
        "license.svg": badge("license", license_name),
        "tour.svg": badge("a tour", "in a notebook"),
    }


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, svg in badges().items():
        (FOLDER / name).write_text(svg, encoding="utf-8")
