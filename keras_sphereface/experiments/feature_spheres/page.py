"""Feature spheres of several losses in one HTML file, to be turned together and hovered.

It holds plotly.js and all data, loads nothing from elsewhere and works offline; a browser is told
to refuse the rest.
"""

import html
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_sphereface.metrics import vectors
from keras_sphereface.plots.features import graticule
from keras_sphereface.plots.style import color_of
from keras_sphereface.reporting.html import FORBIDDEN, escape, opening

EYE = {"x": 0.85, "y": -0.85, "z": 0.6}  # where one looks from at first
REACH = 1.25  # how far class weights stand out of the unit sphere
POINT = 5  # diameter, pixels
GLOBE = "#eef1f4"
GRATICULE = "#c3cad2"

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)
STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 80rem; padding: 1.25rem 1rem 3rem; background: #fff;
  color: #1c2024; font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans",
  "Liberation Sans", sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .6rem; }
h2 { font-size: 1.1rem; margin: 0; text-align: center; }
p { margin: 0 0 .9rem; max-width: 48rem; }
.soft, figcaption { color: #515a64; font-size: .9rem; }
.people { list-style: none; margin: 0 0 .9rem; padding: 0; display: flex; flex-wrap: wrap;
  gap: .3rem 1.2rem; }
.people span { display: inline-block; width: .8em; height: .8em; margin-right: .45em;
  border-radius: 50%; border: 1px solid #444b53; }
button { font: inherit; font-size: .9rem; color: inherit; background: #f5f7f9; cursor: pointer;
  border: 1px solid #8a949e; border-radius: 6px; padding: .3rem .8rem; }
.spheres { display: grid; gap: 1.5rem 1rem; margin: 1.2rem 0 2rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); }
figure { margin: 0; min-width: 0; }
figcaption { text-align: center; text-wrap: balance; }
/* Room is left beside it: what is dragged there scrolls a phone. */
.globe { width: 85%; max-width: 26rem; aspect-ratio: 1; margin: 0 auto; border-radius: 6px; }
.globe:focus-visible, button:focus-visible, .scroll:focus-visible { outline: 2px solid #0a5fa8; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9375rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem; border-bottom: 1px solid #dde1e6; text-align: right;
  white-space: nowrap; }
th:first-child { text-align: left; white-space: normal; min-width: 7rem; max-width: 20rem; }
tbody th { font-weight: inherit; }
"""

SCRIPT = """
"use strict";
(async () => {
  const globes = [...document.querySelectorAll(".globe")];
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const start = figures[0].layout.scene.camera;
  const copy = camera => JSON.parse(JSON.stringify(camera));
  let wanted = null, busy = false, following = null;

  // All but the leader look from its side; of many moves in one frame the last counts.
  async function turn(camera, leader) {
    wanted = [camera, leader];
    if (busy) return;
    busy = true;
    while (wanted) {
      const [camera, leader] = wanted;
      wanted = null;
      for (following of globes.filter(globe => globe !== leader))
        await Plotly.relayout(following, {"scene.camera": copy(camera)});
      following = null;
      await new Promise(requestAnimationFrame);
    }
    busy = false;
  }

  function turnBy(globe, aside, up) {
    const camera = copy(globe.layout.scene.camera), eye = camera.eye;
    const far = Math.hypot(eye.x, eye.y, eye.z), steepest = 1.5;
    const azimuth = Math.atan2(eye.y, eye.x) + aside;
    const slope = Math.max(-steepest, Math.min(steepest, Math.asin(eye.z / far) + up));
    camera.eye = {x: far * Math.cos(slope) * Math.cos(azimuth),
                  y: far * Math.cos(slope) * Math.sin(azimuth), z: far * Math.sin(slope)};
    turn(camera, null);
  }

  const steps = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]};
  await Promise.all(globes.map(async (globe, i) => {
    await Plotly.newPlot(globe, figures[i].data, figures[i].layout,
                         {responsive: true, displayModeBar: false, scrollZoom: false});
    const moved = leader => event => {
      if (event["scene.camera"] && globe !== following) turn(event["scene.camera"], leader);
    };
    globe.on("plotly_relayouting", moved(globe));
    // In the end the leader too: it may have moved on a little since its last event.
    globe.on("plotly_relayout", moved(null));
    globe.addEventListener("keydown", event => {
      const step = steps[event.key];
      if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      turnBy(globe, step[0] * Math.PI / 18, step[1] * Math.PI / 18);
    });
  }));
  document.getElementById("start").addEventListener("click", () => turn(start, null));
})();
"""


class Globe(NamedTuple):
    """What one trained network makes of images, in three dimensions."""

    title: str  # its loss
    embeddings: np.ndarray  # (N, 3), of any length but zero
    labels: np.ndarray  # (N,), 0..C-1
    kernel: np.ndarray  # (3, C), the class weights
    detail: str = ""  # a line below it


def check_installed() -> None:
    """Raise an ImportError that says what to install, if plotly is missing."""
    try:
        import plotly.offline  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "The page of spheres needs plotly: pip install keras-sphereface[interactive]"
        ) from error


def render(title: str, spheres: Sequence[Globe], names: Sequence[str], note: str = "") -> str:
    """The page as a text, to be written as UTF-8; about 5 MB, most of it plotly.js.

    Every text is shown as it is: nothing in it is taken for HTML.

    Args:
        title: the heading, and the name of the page.
        spheres: at least one, of the same people; a browser draws about eight.
        names: of the C people, by label.
        note: a paragraph below the heading.

    Raises:
        ImportError: if plotly is not installed.
        ValueError: if there is no sphere, shapes or labels do not fit, or an embedding or a class
            weight has no direction.
    """
    check_installed()
    # Only now: it is an extra.
    from plotly.offline import get_plotlyjs

    if not spheres:
        raise ValueError("`spheres` must hold at least one sphere. Received: none")
    for sphere in spheres:
        _check(sphere, len(names))
    angles = [_angles(sphere) for sphere in spheres]
    drawn = zip(spheres, angles, strict=True)
    # plotly writes "<" as an escape: no text of the data can end the element that holds it.
    figures = ",\n".join(_figure(sphere, own, names).to_json() for sphere, own in drawn)
    return "\n".join(
        [
            opening(title, POLICY, STYLE),
            *([f"<p>{escape(note)}</p>"] if note else []),
            '<p class="soft">A point is the direction of an image\u2019s embedding, a ray the '
            "weight of a person\u2019s class. Drag a sphere, or press the arrow keys on it: all "
            "turn together. Point at an image to see whose it is, and its angles.</p>",
            _people(names),
            '<button type="button" id="start">Back to the first view</button>',
            '<div class="spheres">',
            *(_place(sphere) for sphere in spheres),
            "</div>",
            _table(spheres, angles, names),
            "</main>",
            f'<script type="application/json" id="figures">[{figures}]</script>',
            f"<script>{get_plotlyjs()}</script>",
            f"<script>{SCRIPT}</script>\n</body>\n</html>\n",
        ]
    )


def _check(sphere, num_classes):
    where = f"of the sphere {sphere.title!r}"
    embeddings, labels, kernel = map(np.asarray, sphere[1:4])
    shapes = [embeddings.shape, labels.shape, kernel.shape]
    if shapes != [(len(embeddings), 3), (len(embeddings),), (3, num_classes)]:
        raise ValueError(
            f"`embeddings`, `labels` and `kernel` {where} must be (N, 3), (N,) and (3, C), with "
            f"C = {num_classes} names. Received: shapes {shapes[0]}, {shapes[1]} and {shapes[2]}"
        )
    if not np.isin(labels, np.arange(num_classes)).all():
        raise ValueError(
            f"`labels` {where} must be from 0 to {num_classes - 1}. "
            f"Received: {np.unique(labels).tolist()}"
        )
    for name, rows in (("embeddings", embeddings), ("kernel", kernel.T)):
        lengths = np.linalg.norm(rows.astype(float), axis=1)
        bad = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))
        if bad.size:
            raise ValueError(
                f"`{name}` {where} must be finite and not zero: they have no direction otherwise. "
                f"Received: {rows[bad[0]].tolist()} at {bad[0]}"
            )


def _angles(sphere):
    """Degrees (N, C) from each embedding to each class weight."""
    unit = vectors.normalize_rows(np.asarray(sphere.embeddings, float))
    weights = vectors.normalize_rows(np.asarray(sphere.kernel, float).T)
    return vectors.degrees_from_cosines(unit @ weights.T)


def _figure(sphere, angles, names):
    """The plotly figure of a sphere."""
    import plotly.graph_objects as go

    labels = np.asarray(sphere.labels)
    points = vectors.normalize_rows(np.asarray(sphere.embeddings, np.float32))
    weights = vectors.normalize_rows(np.asarray(sphere.kernel, np.float32).T)
    figure = go.Figure([_globe(), _graticule()])
    for label, (name, weight) in enumerate(zip(names, weights, strict=True)):
        color, own = color_of(label), labels == label
        x, y, z = points[own].T
        figure.add_scatter3d(
            x=x,
            y=y,
            z=z,
            mode="markers",
            marker={"size": POINT, "color": color, "line": {"width": 1, "color": "#444b53"}},
            hovertext=[_point_text(label, row, names) for row in angles[own]],
            hoverinfo="text",
        )
        x, y, z = np.outer(weight, (1.0, REACH)).astype(np.float32)
        figure.add_scatter3d(
            x=x,
            y=y,
            z=z,
            mode="lines",
            line={"width": 8, "color": color},
            hovertext=f"class weight of {_hover_escape(name)}",
            hoverinfo="text",
        )
    axis = {"visible": False, "showspikes": False, "range": [-REACH, REACH]}
    figure.update_layout(
        template="none",
        showlegend=False,
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        hoverlabel={
            "font": {"size": 13, "color": "#1c2024", "family": "system-ui, sans-serif"},
            "bgcolor": "#fff",
            "bordercolor": "#444b53",
            "align": "left",
        },
        scene={
            "xaxis": axis,
            "yaxis": axis,
            "zaxis": axis,
            "aspectmode": "cube",
            "dragmode": "turntable",
            "camera": {
                "eye": EYE,
                "center": {"x": 0, "y": 0, "z": 0},
                "up": {"x": 0, "y": 0, "z": 1},
            },
        },
    )
    return figure


def _globe():
    """A globe through which the far side shines; a little smaller, so that points stand on it."""
    import plotly.graph_objects as go

    turn, height = np.meshgrid(np.linspace(0, 2 * np.pi, 61), np.linspace(0, np.pi, 31))
    radius = 0.97
    return go.Surface(
        x=np.float32(radius * np.cos(turn) * np.sin(height)),
        y=np.float32(radius * np.sin(turn) * np.sin(height)),
        z=np.float32(radius * np.cos(height)),
        surfacecolor=np.zeros(turn.shape, np.uint8),
        colorscale=[[0, GLOBE], [1, GLOBE]],
        showscale=False,
        opacity=0.6,
        lighting={"ambient": 1, "diffuse": 0, "specular": 0, "fresnel": 0},
        contours={axis: {"highlight": False} for axis in "xyz"},
        hoverinfo="skip",
    )


def _graticule():
    """Meridians and parallels 30 degrees apart, in one line with gaps."""
    import plotly.graph_objects as go

    gapped = [np.append(line, np.full((1, 3), np.nan), axis=0) for line in graticule()]
    x, y, z = np.float32(0.975 * np.concatenate(gapped).T)
    line = {"width": 1.5, "color": GRATICULE}
    return go.Scatter3d(x=x, y=y, z=z, mode="lines", line=line, hoverinfo="skip")


def _point_text(label, angles, names):
    """What is shown at an image of `label` that has these angles (C,) to the class weights."""
    own, nearest = angles[label], int(np.argmin(angles))
    if angles[nearest] < own:
        rest = f"nearer to {_hover_escape(names[nearest])}: {angles[nearest]:.1f}\u00b0"
    else:
        rest = "no other class weight is nearer"
    return (
        f"<b>{_hover_escape(names[label])}</b><br>{own:.1f}\u00b0 from the own class weight"
        f"<br>{rest}"
    )


def _hover_escape(text):
    # plotly.js knows the names of these three only.
    return html.escape(FORBIDDEN.sub("\ufffd", text), quote=False)


def _people(names):
    items = [
        f'<li><span style="background: {color_of(label)}"></span>{escape(name)}</li>'
        for label, name in enumerate(names)
    ]
    return "\n".join(['<ul class="people" aria-label="People and their colors">', *items, "</ul>"])


def _place(sphere):
    """Where a sphere is drawn, with its title and its line."""
    label = escape(
        f"Globe of {sphere.title}, {len(sphere.labels)} images. {sphere.detail} "
        "Turn it with the arrow keys."
    )
    detail = f"<figcaption>{escape(sphere.detail)}</figcaption>" if sphere.detail else ""
    return (
        f"<figure>\n<h2>{escape(sphere.title)}</h2>\n"
        f'<div class="globe" role="application" tabindex="0" aria-label="{label}">'
        "<noscript>The sphere needs JavaScript; the table below does not.</noscript></div>\n"
        f"{detail}\n</figure>"
    )


def _table(spheres, angles, names):
    """The angles as numbers, for those who do not see the spheres."""
    titles = ["Person", *(escape(sphere.title) for sphere in spheres)]
    heads = [f'<th scope="col">{title}</th>' for title in titles]
    head = f"<tr>{''.join(heads)}</tr>"
    lines = []
    for label, name in enumerate(names):
        cells = [
            f"<td>{_summary(own[np.asarray(sphere.labels) == label], label)}</td>"
            for sphere, own in zip(spheres, angles, strict=True)
        ]
        lines.append(f'<tr><th scope="row">{escape(name)}</th>{"".join(cells)}</tr>')
    return "\n".join(
        [
            # No caption: that would be as wide as the table, and scroll with it.
            '<p class="soft" id="angles">Mean angle from a person\u2019s images to the own class '
            "weight; in brackets, how many of them lie nearer to another\u2019s</p>",
            # With the keyboard one scrolls only what takes the focus.
            '<div class="scroll" role="region" aria-labelledby="angles" tabindex="0">',
            '<table aria-labelledby="angles">',
            f"<thead>{head}</thead>\n<tbody>",
            *lines,
            "</tbody>\n</table>\n</div>",
        ]
    )


def _summary(angles, label):
    """The cell of a person: mean angle and images astray, of angles (images, C)."""
    if not len(angles):
        return "\u2013"
    own = angles[:, label]
    astray = np.count_nonzero(angles.min(axis=1) < own)
    return f"{own.mean():.1f}\u00b0 ({astray} of {len(own)})"
