"""Drawn faces: identities with stable traits, images that vary, all from a seed.

A head is an ellipsoid on which features are drawn as polygons; it rotates, is lit from one side,
smiles, and is blurred and noisy. Lengths are in half face heights.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIZE = 160  # height and width of a drawn image, pixels
SUPERSAMPLING = 2
# (places on the head, color, lift above it) -> None: draws a polygon.
Polygon = Callable[..., None]


class Traits(NamedTuple):
    """Traits of an identity: the same in all its images.

    Example:

    >>> draw_traits(np.random.default_rng(0)).skin.shape
    (3,)
    """

    skin: np.ndarray  # colors: RGB 0..255
    hair: np.ndarray
    iris: np.ndarray
    lips: np.ndarray
    face_width: float
    jaw: float  # 0 round ... 1 pointed
    eye_distance: float  # from the middle of the face
    eye_height: float
    eye_width: float
    eye_opening: float
    eye_slant: float
    brow_gap: float
    brow_thickness: float
    brow_slope: float
    nose_length: float
    nose_width: float
    mouth_height: float
    mouth_width: float
    lip_thickness: float
    hairline: float
    hair_length: float
    fringe: float  # side to which the fringe falls
    beard: float  # 0 none ... 1 full
    moles: np.ndarray  # (2, 2) places


def draw_traits(rng: np.random.Generator) -> Traits:
    """Draw the traits of an identity at random.

    Example:

    >>> traits = draw_traits(np.random.default_rng(0))
    >>> traits.beard >= 0
    True
    """
    skins = np.array([(246, 214, 190), (224, 178, 142), (188, 136, 100), (120, 82, 60)])
    hairs = np.array([(30, 24, 22), (82, 54, 34), (140, 100, 56), (206, 172, 110), (150, 146, 142)])
    irises = np.array([(70, 46, 30), (96, 120, 70), (80, 120, 170), (110, 110, 120)])

    def near(palette: np.ndarray, spread: float) -> np.ndarray:
        mixed = palette[rng.integers(len(palette))] + rng.normal(0, spread, 3)
        return np.clip(mixed, 0, 255)

    def normal(mean: float, spread: float) -> float:
        return float(mean + spread * np.clip(rng.normal(), -2, 2))

    skin = near(skins, 9)
    return Traits(
        skin=skin,
        hair=near(hairs, 10),
        iris=near(irises, 8),
        lips=np.clip(0.6 * skin + 0.4 * np.array((170, 60, 66)) + rng.normal(0, 10, 3), 0, 255),
        face_width=normal(0.76, 0.045),
        jaw=normal(0.45, 0.2),
        eye_distance=normal(0.32, 0.022),
        eye_height=normal(-0.12, 0.03),
        eye_width=normal(0.135, 0.014),
        eye_opening=normal(0.06, 0.012),
        eye_slant=normal(0.0, 0.018),
        brow_gap=normal(0.15, 0.025),
        brow_thickness=normal(0.035, 0.011),
        brow_slope=normal(0.02, 0.03),
        nose_length=normal(0.36, 0.045),
        nose_width=normal(0.13, 0.024),
        mouth_height=normal(0.48, 0.03),
        mouth_width=normal(0.25, 0.032),
        lip_thickness=normal(0.055, 0.015),
        hairline=normal(-0.62, 0.07),
        hair_length=float(rng.choice([-0.3, 0.1, 0.9], p=[0.5, 0.2, 0.3])) + normal(0, 0.06),
        fringe=float(rng.uniform(-1, 1)),
        beard=float(max(0.0, rng.uniform(-1.4, 0.8))),
        moles=rng.uniform((-0.5, 0.1), (0.5, 0.7), (2, 2)),
    )


class _Pose:
    """Projects places on the head (x right, y down) to pixels of the canvas."""

    def __init__(self, rng: np.random.Generator):
        yaw, pitch = np.radians([rng.normal(0, 13), rng.normal(0, 7)])
        roll, size = np.radians(rng.normal(0, 6)), SIZE * SUPERSAMPLING
        rotate_yaw = [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
        sin, cos = np.sin(pitch), np.cos(pitch)
        rotate_pitch = [[1, 0, 0], [0, cos, sin], [0, -sin, cos]]
        rotate_roll = [[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]]
        self.rotation = np.array(rotate_roll) @ rotate_pitch @ rotate_yaw
        self.scale = size * 0.34 * rng.uniform(0.9, 1.1)
        self.center = size * (0.5 + rng.normal(0, 0.025, 2))

    def __call__(self, places: np.ndarray, lift: float = 0.0) -> np.ndarray:
        places = np.atleast_2d(places)
        depth = np.sqrt(np.maximum(0.0, 1.0 - np.sum((places * (0.95, 0.8)) ** 2, axis=1)))
        solid = np.column_stack([places, 0.75 * depth + lift])
        return self.center + self.scale * (solid @ self.rotation.T)[:, :2]


def _oval(x: float, y: float, width: float, height: float, slant: float = 0.0) -> np.ndarray:
    """Return a closed oval as (48, 2) places."""
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    dx = width * np.cos(angle)
    return np.column_stack([x + dx, y + height * np.sin(angle) + slant * dx / width])


def render_face(traits: Traits, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw an image of an identity, with pose, expression and light at random.

    Returns:
        uint8 (160, 160, 3) RGB, and the five points (5, 2): eyes, nose, mouth corners.

    Example:

    >>> traits = draw_traits(np.random.default_rng(0))
    >>> image, points = render_face(traits, np.random.default_rng(1))
    >>> image.shape, points.shape
    ((160, 160, 3), (5, 2))
    """
    t, pose = traits, _Pose(rng)
    size = SIZE * SUPERSAMPLING
    background = rng.uniform(30, 220, 3)
    canvas = Image.new("RGB", (size, size), _color(background))
    draw = ImageDraw.Draw(canvas)

    def polygon(places: np.ndarray, color: np.ndarray, lift: float = 0.0) -> None:
        draw.polygon([tuple(point) for point in pose(places, lift)], fill=_color(color))

    smile, opening = rng.normal(0.02, 0.035), max(0.0, rng.normal(0.01, 0.03))
    lids, raised = rng.uniform(0.5, 1.15), rng.normal(0, 0.02)
    gaze = rng.normal(0, 0.02)
    _draw_background(draw, rng, size, background)
    _draw_head(polygon, t, rng)
    for side in (-1, 1):
        _draw_eye(polygon, t, side, lids, gaze, raised)
    _draw_nose_and_mouth(polygon, t, smile, opening)
    for mole in t.moles:
        polygon(_oval(mole[0], mole[1], 0.018, 0.018), 0.45 * t.skin)
    if rng.random() < 0.2:
        _draw_glasses(draw, pose, t)

    points = np.array(
        [
            (-t.eye_distance, t.eye_height),
            (t.eye_distance, t.eye_height),
            (0.0, t.eye_height + t.nose_length),
            (-t.mouth_width, t.mouth_height - smile),
            (t.mouth_width, t.mouth_height - smile),
        ]
    )
    placed = np.vstack([pose(points[:2]), pose(points[2], lift=0.12), pose(points[3:])])
    # The center of pixel 0 has coordinate 0, as in a landmark file.
    placed = (placed + 0.5) / SUPERSAMPLING - 0.5
    return _photograph(canvas, rng), placed


def _color(rgb: np.ndarray) -> tuple[int, ...]:
    return tuple(int(channel) for channel in np.clip(rgb, 0, 255))


def _draw_background(
    draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: int, background: np.ndarray
) -> None:
    for _ in range(rng.integers(0, 4)):
        corner, extent = rng.uniform(0, size, 2), rng.uniform(0.1, 0.6, 2) * size
        color = _color(background + rng.normal(0, 30, 3))
        draw.rectangle([*corner, *(corner + extent)], fill=color)


def _draw_head(polygon: Polygon, t: Traits, rng: np.random.Generator) -> None:
    back = _oval(0, -0.12, t.face_width + 0.14, 1.0)
    polygon(back, t.hair)
    if t.hair_length > 0:
        lower = np.array([(-1, 0), (1, 0), (1, 1), (-1, 1)]) * (t.face_width + 0.1, t.hair_length)
        polygon(lower, 0.92 * t.hair, lift=-0.5)
    neck = np.array([(-0.4, 0.5), (0.4, 0.5), (0.5, 1.5), (-0.5, 1.5)])
    polygon(neck, 0.8 * t.skin, lift=-0.4)
    shoulders = np.array([(-1.4, 1.25), (1.4, 1.25), (1.6, 2), (-1.6, 2)])
    polygon(shoulders, rng.uniform(20, 230, 3), lift=-0.4)
    outline = _oval(0, 0, t.face_width, 1.0)
    below = np.clip(outline[:, 1], 0, 1)
    outline[:, 0] *= 1 - 0.35 * t.jaw * below**2
    polygon(outline, t.skin)
    if t.beard > 0.05:
        lower_face = outline[outline[:, 1] > 0.25]
        inner = np.array([(-0.3, 0.42), (0.3, 0.42)])[:: 1 if lower_face[0, 0] < 0 else -1]
        polygon(np.vstack([lower_face, inner]), (1 - t.beard) * t.skin + t.beard * t.hair)
    top = outline[outline[:, 1] < t.hairline]
    top = top[np.argsort(top[:, 0])]
    fringe = np.array([(0.3 * t.fringe, t.hairline + 0.12), (-0.5 * t.fringe, t.hairline - 0.05)])
    polygon(np.vstack([top, fringe[np.argsort(-fringe[:, 0])]]), t.hair)


def _draw_eye(
    polygon: Polygon, t: Traits, side: int, lids: float, gaze: float, raised: float
) -> None:
    x, y, opening = side * t.eye_distance, t.eye_height, t.eye_opening * lids
    slant = side * t.eye_slant
    polygon(_oval(x, y - 0.01, 1.2 * t.eye_width, 1.5 * t.eye_opening), 0.86 * t.skin)
    polygon(_oval(x, y, t.eye_width, opening, slant), np.array((238, 236, 232)))
    iris = min(0.06, opening)
    polygon(_oval(x + gaze, y, 0.062, iris), t.iris)
    polygon(_oval(x + gaze, y, 0.026, min(0.026, opening)), np.array((15, 12, 12)))
    brow_y, half = y - t.brow_gap - raised, 0.17
    inner, outer = x - side * half, x + side * half
    brow = np.array(
        [
            (inner, brow_y + t.brow_slope),
            (x, brow_y - 0.03),
            (outer, brow_y - t.brow_slope + 0.02),
            (x, brow_y - 0.03 + t.brow_thickness),
            (inner, brow_y + t.brow_slope + t.brow_thickness),
        ]
    )
    polygon(brow, 0.8 * t.hair)


def _draw_nose_and_mouth(polygon: Polygon, t: Traits, smile: float, opening: float) -> None:
    tip = t.eye_height + t.nose_length
    bridge = np.array([(-0.035, t.eye_height), (0.035, t.eye_height)])
    base = np.array([(t.nose_width, tip + 0.02), (0, tip + 0.06), (-t.nose_width, tip + 0.02)])
    polygon(np.vstack([bridge, base]), 0.92 * t.skin, lift=0.06)
    polygon(_oval(0, tip, 0.6 * t.nose_width, 0.05), 1.04 * t.skin, lift=0.12)
    for side in (-1, 1):
        polygon(_oval(side * 0.55 * t.nose_width, tip + 0.035, 0.028, 0.016), 0.5 * t.skin, 0.08)
    x = np.linspace(-1, 1, 15)
    curve = t.mouth_height - smile * x**2
    arch = t.lip_thickness * (1 - x**2)
    xs = t.mouth_width * x
    upper = np.column_stack([xs, curve - 0.8 * arch])
    lower = np.column_stack([xs, curve + arch + opening * (1 - x**2)])
    polygon(np.vstack([upper, lower[::-1]]), t.lips)
    gap = (0.012 + opening) * (1 - x**2)
    inside = np.vstack([np.column_stack([xs, curve]), np.column_stack([xs, curve + gap])[::-1]])
    polygon(inside, np.array((70, 26, 28)) if opening < 0.03 else np.array((214, 206, 200)))


def _draw_glasses(draw: ImageDraw.ImageDraw, pose: _Pose, t: Traits) -> None:
    width = SUPERSAMPLING * 2
    for side in (-1, 1):
        rim = pose(_oval(side * t.eye_distance, t.eye_height + 0.02, 0.21, 0.16), 0.05)
        draw.line([tuple(p) for p in (*rim, rim[0])], fill=(35, 32, 32), width=width)
    bridge = pose(np.array([(-0.11, t.eye_height), (0.11, t.eye_height)]), 0.1)
    draw.line([tuple(p) for p in bridge], fill=(35, 32, 32), width=width)


def _photograph(canvas: Image.Image, rng: np.random.Generator) -> np.ndarray:
    """Add light from one side, exposure, white balance, blur and sensor noise."""
    image = canvas.reduce(SUPERSAMPLING).filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.3)))
    pixels = np.asarray(image, np.float64)
    across = np.linspace(-1, 1, SIZE)
    direction, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.45)
    light = across[None] * np.cos(direction) + across[:, None] * np.sin(direction)
    exposure = rng.uniform(0.65, 1.2) * (1 + rng.normal(0, 0.05, 3))
    pixels = pixels * (1 + strength * light[..., None]) * exposure
    pixels += rng.normal(0, rng.uniform(2, 9), pixels.shape)
    return np.clip(pixels, 0, 255).astype(np.uint8)
