"""plotly's traces on matplotlib axes, one function for each type."""

import math
import re
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from mpl_toolkits.mplot3d.art3d import Poly3DCollection

from qbench.plots import _axes, theme

_DASHES = {
    None: "-",
    "solid": "-",
    "dash": (0, (5, 3)),
    "dot": (0, (1.2, 2.2)),
    "dashdot": (0, (6, 2.5, 1.2, 2.5)),
    "longdash": (0, (9, 3)),
}
_MARKERS = {
    None: "o",
    "circle": "o",
    "square": "s",
    "diamond": "D",
    "triangle-up": "^",
    "triangle-down": "v",
    "cross": "P",
    "x": "X",
}
#: plotly says where the text is, matplotlib which part of the text is at the point.
_BESIDE = {"left": "right", "center": "center", "right": "left"}
_ABOVE = {"top": "bottom", "middle": "center_baseline", "bottom": "top"}
_CLEAR = {"top": 1.5, "middle": 0, "bottom": -1.5}
_STEPS = {"hv": "steps-post", "vh": "steps-pre"}


def colour(text: str) -> tuple[float, ...]:
    """`#rrggbb`, `rgb(...)` or `rgba(...)` as matplotlib takes it."""
    found = re.fullmatch(r"rgba?\(([^)]*)\)", text)
    if not found:
        return to_rgb(text)
    red, green, blue, *alpha = (float(v) for v in found[1].split(","))
    return (red / 255, green / 255, blue / 255, *alpha)


def colour_map(scale: list) -> LinearSegmentedColormap:
    """A plotly colour scale as a matplotlib colour map."""
    return LinearSegmentedColormap.from_list("scale", [(at, colour(c)) for at, c in scale])


def line_style(trace: object) -> dict:
    """Colour, width and dash of a trace's line."""
    line = trace.line
    return {"color": line.color, "lw": 0.85 * (line.width or 2), "ls": _DASHES[line.dash]}


def marker_style(trace: object) -> dict:
    """Shape, size and fill of a trace's markers."""
    shape, _, empty = (trace.marker.symbol or "circle").partition("-open")
    hollow = (trace.marker.symbol or "").endswith("-open")
    tint = _axes.INK if trace.marker.color == theme.INK else trace.marker.color
    return {
        "marker": _MARKERS[shape],
        "ms": 0.72 * (trace.marker.size or 6),
        "mec": tint,
        "mew": 1.6 if hollow else 0,
        "mfc": "none" if hollow else tint,
    }


def scatter(ax: Axes, trace: object, x_names, y_names) -> None:
    """Lines, markers, text, a filled band, error bars."""
    x, y = _axes.places(trace.x, x_names), _axes.places(trace.y, y_names)
    mode = trace.mode or "lines"
    if "text" in mode:  # alone, or with a marker that nobody sees
        size = 0.9 * trace.textfont.size
        vertical, _, horizontal = (trace.textposition or "middle center").partition(" ")
        place = {"ha": _BESIDE[horizontal], "va": _ABOVE[vertical]}
        place |= {"xytext": (0, _CLEAR[vertical]), "textcoords": "offset points"}
        for across, up, text, ink in zip(x, y, trace.text, trace.textfont.color, strict=True):
            ax.annotate(text, (across, up), color=ink, fontsize=size, **place)
        return
    if trace.fill == "toself":
        ax.fill(x, y, color=colour(trace.fillcolor), lw=0)
        return
    style = line_style(trace) if "lines" in mode else {"color": trace.marker.color, "ls": ""}
    style["drawstyle"] = _STEPS.get(trace.line.shape, "default")
    if "markers" in mode:
        style |= marker_style(trace)
    ax.plot(x, y, **style)
    if trace.error_y.array is not None:
        _error_bars(ax, x, y, trace.error_y, style["color"])
    if trace.error_x.array is not None:
        _error_bars(ax, y, x, trace.error_x, style["color"], lying=True)


def bar(ax: Axes, trace: object, names: list[str], place: int, of: int) -> None:
    """One series of grouped bars, or of bars each alone at its name, with its error bars."""
    place, of = (0, 1) if trace.offsetgroup is None else (place, of)
    width = 0.75 / of
    lying = trace.orientation == "h"
    at, to = (trace.y, trace.x) if lying else (trace.x, trace.y)
    at = [v + (place - (of - 1) / 2) * width for v in _axes.places(at, names)]
    to = _axes.places(to, None)
    (ax.barh if lying else ax.bar)(at, to, 0.94 * width, color=trace.marker.color)
    errors = trace.error_x if lying else trace.error_y
    if errors.array is not None:
        _error_bars(ax, at, to, errors, _axes.INK, lying)


def heat_map(drawn: Figure, ax: Axes, trace: object, x_names, y_names) -> None:
    """Coloured cells and a colour bar below them."""
    shades = colour_map(trace.colorscale)
    span = Normalize(trace.zmin, trace.zmax)
    for up, row in enumerate(trace.z):
        for across, value in enumerate(row):
            if value is not None and not math.isnan(value):
                corner = (across - 0.49, up - 0.485)
                ax.add_patch(Rectangle(corner, 0.98, 0.97, color=shades(span(value)), lw=0))
    ax.set_xlim(-0.5, len(x_names) - 0.5)
    ax.set_ylim(-0.5, len(y_names) - 0.5)
    bar = drawn.colorbar(
        ScalarMappable(span, shades.resampled(32)),
        ax=ax,
        orientation="horizontal",
        aspect=46,
        pad=0.04,
        label=_axes.plain(trace.colorbar.title.text),
        format=_axes.number,
    )
    bar.outline.set_visible(False)
    bar.ax.locator_params(nbins=6)


def frames(ax: Axes, shapes: Iterable) -> None:
    """Rectangles in the coordinates of the axes, as lines without a fill."""
    for shape in shapes:
        corner, size = (shape.x0, shape.y0), (shape.x1 - shape.x0, shape.y1 - shape.y0)
        line = {"ec": colour(shape.line.color), "lw": 0.85 * shape.line.width}
        ax.add_patch(Rectangle(corner, *size, fill=False, joinstyle="miter", **line))


def outline(ax: Axes, trace: object, angles: dict[str, float]) -> None:
    """One outline of a radar."""
    theta = [angles[name] for name in trace.theta]
    r = _axes.places(trace.r, None)
    ax.plot(theta, r, clip_on=False, **line_style(trace), **marker_style(trace))
    if trace.fill == "toself":
        ax.fill(theta, r, color=colour(trace.fillcolor), lw=0)


def surfaces(ax: Axes, traces: Sequence) -> None:
    """All surfaces as one heap of facets, so that they hide each other where they should.

    A facet is drawn where its four corners are given. Coarse grids are refined linearly, which is
    what plotly's shading does too.
    """
    xs, ys = (_refine(np.array(traces[0][role], dtype=float)) for role in "xy")
    corners, paints, heights = [], [], []
    for trace in traces:
        z = np.array([[math.nan if v is None else v for v in row] for row in trace.z], dtype=float)
        z = _resample(np.array(trace.x, float), np.array(trace.y, float), z, xs, ys)
        low, high = np.nanmin(z), np.nanmax(z)
        room = 0 if high > low else 0.5
        shades, span = colour_map(trace.colorscale), Normalize(low - room, high + room)
        for j, i in np.ndindex(len(ys) - 1, len(xs) - 1):
            around = [z[j, i], z[j, i + 1], z[j + 1, i + 1], z[j + 1, i]]
            if np.isnan(around).any():
                continue
            edge = zip(xs[[i, i + 1, i + 1, i]], ys[[j, j, j + 1, j + 1]], around, strict=True)
            corners.append(list(edge))
            paints.append((*shades(span(np.mean(around)))[:3], trace.opacity or 1.0))
            heights += around
    ax.add_collection3d(Poly3DCollection(corners, facecolors=paints, linewidths=0))
    room = 0 if max(heights) > min(heights) else 0.5
    ax.set(xlim=(xs[0], xs[-1]), ylim=(ys[0], ys[-1]))
    ax.set_zlim(min(heights) - room, max(heights) + room)


def _refine(values: np.ndarray) -> np.ndarray:
    """The values, refined by equal steps to at least 15, or thinned to 25 if there are more."""
    if len(values) > 25:
        return np.interp(np.linspace(0, len(values) - 1, 25), np.arange(len(values)), values)
    steps = math.ceil(14 / (len(values) - 1))
    places = np.arange(steps * (len(values) - 1) + 1) / steps
    return np.interp(places, np.arange(len(values)), values)


def _resample(x: np.ndarray, y: np.ndarray, z: np.ndarray, xs, ys) -> np.ndarray:
    """z at every pair of `xs` and `ys`, linear in x and then in y; NaN spreads to its cells."""
    rows = np.array([np.interp(xs, x, row) for row in z])
    return np.array([np.interp(ys, y, column) for column in rows.T]).T


def _error_bars(
    ax: Axes, at: list, to: list, bars: object, tint: object, lying: bool = False
) -> None:
    spans = [list(bars.arrayminus), list(bars.array)]
    places = {"x": to, "y": at, "xerr": spans} if lying else {"x": at, "y": to, "yerr": spans}
    ax.errorbar(**places, fmt="none", ecolor=tint, elinewidth=1.1, capsize=3)
