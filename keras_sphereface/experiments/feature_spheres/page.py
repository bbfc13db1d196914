"""Feature spheres of several losses in one interactive HTML file, which works offline.

It holds plotly.js and all data; its Content-Security-Policy forbids to load anything else.
"""

import dataclasses
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import markupsafe
import numpy as np

from keras_sphereface.metrics.vectors import degrees_from_cosines, normalize_rows
from keras_sphereface.plots.features import VIEW, graticule, view_direction
from keras_sphereface.plots.style import COLORS, color_of
from keras_sphereface.reporting.html import FORBIDDEN, security_policy, template_environment

if TYPE_CHECKING:
    import plotly.graph_objects as go

EYE_DISTANCE = 1.2  # of the first view; the sphere fills it
RAY_END = 1.25  # rays of class weights stand out of the unit sphere
POINT_SIZE = 5  # pixels
GLOBE_COLOR, GRATICULE_COLOR, EDGE_COLOR = "#eef1f4", "#c3cad2", "#444b53"
# {color: its color on dark pages}; the last color of an identity is the page's ink.
DARK_COLORS = {
    GLOBE_COLOR: "#2b323a",
    GRATICULE_COLOR: "#525d69",
    EDGE_COLOR: "#b4bcc5",
    COLORS[-1]: "#e6e8eb",
}


@dataclasses.dataclass(frozen=True)
class Globe:
    """Embeddings of images by one network, to be shown on a sphere.

    Attributes:
        title: Name of the network, for example of its loss.
        embeddings: (N, 3), of any length but zero.
        labels: (N,), 0 to C - 1.
        kernel: (3, C), the class weights, of any length but zero.
        detail: Line below the sphere.

    Example:
        >>> Globe("m = 4", np.eye(3), np.arange(3), np.eye(3)).title
        'm = 4'
    """

    title: str
    embeddings: np.ndarray
    labels: np.ndarray
    kernel: np.ndarray
    detail: str = ""

    @property
    def angles(self) -> np.ndarray:
        """Angles in degrees from each image to each class weight, (N, C)."""
        unit = normalize_rows(np.asarray(self.embeddings, float))
        return degrees_from_cosines(unit @ normalize_rows(np.asarray(self.kernel, float).T).T)


def check_plotly() -> None:
    """Raise an ImportError that names the extra to install, if plotly is missing."""
    try:
        import plotly.io  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "The page of spheres needs plotly: pip install 'keras-sphereface[interactive]'"
        ) from error


def render_globes(
    title: str,
    globes: Sequence[Globe],
    names: Sequence[str],
    note: str = "",
    view: tuple[float, float] = VIEW,
) -> str:
    """Return a page on which globes rotate together, to be written as UTF-8; about 5 MB.

    A slider chooses the globe that is shown, and a button shows all side by side. Every text is
    shown as it is; none of it is taken for HTML.

    Args:
        title: Heading, and name of the page.
        globes: At least one, of the same identities; a browser draws about eight.
        names: Names of the C identities, by label.
        note: Paragraph below the heading.
        view: Azimuth and elevation of the first view, degrees.

    Raises:
        ImportError: If plotly is not installed.
        ValueError: If there is no globe, shapes or labels do not fit, or an embedding or a class
            weight has no direction.

    Example:
        >>> globe = Globe("m = 4", np.eye(3), np.arange(3), np.eye(3))
        >>> page = render_globes("Spheres", [globe], ["Ann", "Bob", "Cy"])
        >>> Path("spheres.html").write_text(page, encoding="utf-8") > 1_000_000
        True
    """
    check_plotly()
    if not globes:
        raise ValueError("`globes` must hold at least one globe. Received: none")
    for globe in globes:
        _check(globe, len(names))
    eye = dict(zip("xyz", (EYE_DISTANCE * view_direction(*view)).tolist(), strict=True))
    return (
        template_environment(Path(__file__).parent)
        .get_template("spheres.html.j2")
        .render(
            title=title,
            policy=security_policy(script_src="'unsafe-inline'"),
            note=note,
            identities=[(name, color_of(label)) for label, name in enumerate(names)],
            globes=globes,
            dark=DARK_COLORS,
            figures=[_figure_html(globe, names, eye, i) for i, globe in enumerate(globes)],
            rows=[
                (name, [_mean_angle(globe, label) for globe in globes])
                for label, name in enumerate(names)
            ],
        )
    )


def _check(globe: Globe, num_classes: int) -> None:
    where = f"of the globe {globe.title!r}"
    embeddings, kernel = np.asarray(globe.embeddings), np.asarray(globe.kernel)
    shapes = embeddings.shape, np.shape(globe.labels), kernel.shape
    if shapes != ((len(embeddings), 3), (len(embeddings),), (3, num_classes)):
        raise ValueError(
            f"`embeddings`, `labels` and `kernel` {where} must be (N, 3), (N,) and (3, C), with "
            f"C = {num_classes} names. Received: shapes {', '.join(map(str, shapes))}"
        )
    if not np.isin(globe.labels, np.arange(num_classes)).all():
        raise ValueError(
            f"`labels` {where} must be from 0 to {num_classes - 1}. "
            f"Received: {np.unique(globe.labels).tolist()}"
        )
    for name, rows in (("embeddings", embeddings), ("kernel", kernel.T)):
        lengths = np.linalg.norm(rows.astype(float), axis=1)
        bad = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))
        if bad.size:
            raise ValueError(
                f"`{name}` {where} must be finite and not zero: they have no direction otherwise. "
                f"Received: {rows[bad[0]].tolist()} at {bad[0]}"
            )


def _mean_angle(globe: Globe, label: int) -> str:
    """Return the cell of an identity: the mean angle, and how many images lie nearer to another."""
    angles = globe.angles[np.asarray(globe.labels) == label]
    if not len(angles):
        return "\N{EN DASH}"
    nearer = np.count_nonzero(angles.min(axis=1) < angles[:, label])
    return f"{angles[:, label].mean():.1f}\N{DEGREE SIGN} ({nearer} of {len(angles)})"


def _figure_html(
    globe: Globe, names: Sequence[str], eye: Mapping[str, float], index: int
) -> markupsafe.Markup:
    """Return a figure as HTML; the first brings plotly.js along."""
    import plotly.io

    # Safe: plotly escapes what could end its script.
    return markupsafe.Markup(
        plotly.io.to_html(
            draw_globe(globe, names, eye),
            config={"responsive": True, "displayModeBar": False, "scrollZoom": False},
            include_plotlyjs="inline" if index == 0 else False,
            full_html=False,
            div_id=f"globe-{index}",
        )
    )


def draw_globe(globe: Globe, names: Sequence[str], eye: Mapping[str, float]) -> "go.Figure":
    """Return the plotly figure of a globe: points are images, rays are class weights.

    Args:
        globe: What to draw.
        names: Names of the C identities.
        eye: Place of the eye, by "x", "y" and "z".
    """
    import plotly.graph_objects as go

    labels, angles = np.asarray(globe.labels), globe.angles
    points = normalize_rows(np.asarray(globe.embeddings, np.float32))
    weights = normalize_rows(np.asarray(globe.kernel, np.float32).T)
    figure = go.Figure([_ball(), _graticule()])
    for label, (name, weight) in enumerate(zip(names, weights, strict=True)):
        color, is_target = color_of(label), labels == label
        figure.add_scatter3d(
            **_xyz(points[is_target]),
            mode="markers",
            marker={"size": POINT_SIZE, "color": color, "line": {"width": 1, "color": EDGE_COLOR}},
            hovertext=[_hover_text(label, row, names) for row in angles[is_target]],
            hoverinfo="text",
        )
        figure.add_scatter3d(
            **_xyz(np.outer((1.0, RAY_END), weight)),
            mode="lines",
            line={"width": 8, "color": color},
            hovertext=f"class weight of {_escape(name)}",
            hoverinfo="text",
        )
    axis = {"visible": False, "showspikes": False, "range": [-RAY_END, RAY_END]}
    camera = {"eye": dict(eye), "center": dict.fromkeys("xyz", 0), "up": {"x": 0, "y": 0, "z": 1}}
    figure.update_layout(
        template="none",
        showlegend=False,
        margin=dict.fromkeys("lrtb", 0),
        hoverlabel={"font": {"size": 13, "color": "#1c2024"}, "bgcolor": "#fff", "align": "left"},
        paper_bgcolor="rgba(0,0,0,0)",  # the page shines through, light or dark
        scene={f"{name}axis": axis for name in "xyz"},
        scene_aspectmode="cube",
        scene_dragmode="turntable",
        scene_camera=camera,
    )
    return figure


def _xyz(points: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip("xyz", np.asarray(points, np.float32).T, strict=True))


def _ball() -> "go.Surface":
    """Return a translucent ball, a little smaller than 1, so that points stand on it."""
    import plotly.graph_objects as go

    azimuth, polar = np.meshgrid(np.linspace(0, 2 * np.pi, 61), np.linspace(0, np.pi, 31))
    radius = 0.97 * np.sin(polar)
    return go.Surface(
        x=np.float32(radius * np.cos(azimuth)),
        y=np.float32(radius * np.sin(azimuth)),
        z=np.float32(0.97 * np.cos(polar)),
        surfacecolor=np.zeros(polar.shape, np.uint8),
        colorscale=[[0, GLOBE_COLOR], [1, GLOBE_COLOR]],
        showscale=False,
        opacity=0.6,
        lighting={"ambient": 1, "diffuse": 0, "specular": 0, "fresnel": 0},
        contours={axis: {"highlight": False} for axis in "xyz"},
        hoverinfo="skip",
    )


def _graticule() -> "go.Scatter3d":
    """Return meridians and parallels 30 degrees apart, as one line with gaps."""
    import plotly.graph_objects as go

    gapped = [np.append(line, np.full((1, 3), np.nan), axis=0) for line in graticule()]
    return go.Scatter3d(
        **_xyz(0.975 * np.concatenate(gapped)),
        mode="lines",
        line={"width": 1.5, "color": GRATICULE_COLOR},
        hoverinfo="skip",
    )


def _hover_text(label: int, angles: np.ndarray, names: Sequence[str]) -> str:
    """Return the text at an image of `label` with these angles (C,) to the class weights."""
    target, nearest = angles[label], int(np.argmin(angles))
    other = "no other class weight is nearer"
    if angles[nearest] < target:
        other = f"nearer to {_escape(names[nearest])}: {angles[nearest]:.1f}\N{DEGREE SIGN}"
    return (
        f"<b>{_escape(names[label])}</b><br>{target:.1f}\N{DEGREE SIGN} from the class weight of "
        f"the identity<br>{other}"
    )


def _escape(text: str) -> str:
    """Return a text for plotly.js, which knows the entities of &, < and > only."""
    return html.escape(FORBIDDEN.sub("\ufffd", text), quote=False)
