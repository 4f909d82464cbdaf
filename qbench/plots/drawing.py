"""The static form of a figure: the same plotly figure, drawn by matplotlib, as inline SVG.

It covers the traces that this package emits: scatter (lines, markers, text, bands, error bars),
bar, heatmap, scatterpolar and surface. Text, axes and grid take the page's own text colour
(`currentColor`), so that one SVG serves light and dark pages and print.
"""

import hashlib
import io
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import escape

import plotly.graph_objects as go
from matplotlib import rc_context, rcdefaults, rcParams
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from qbench.plots import _axes, _menu, _trace

#: Width in px: text of 11.5 px is 14 px on a wide page and still 9 px on a phone.
WIDTH = 480
_STYLE = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 11.5,
    "axes.labelsize": 11.5,
    "axes.titlesize": 11.5,
    "axes.linewidth": 0.8,
    "axes.unicode_minus": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _axes.INK,
    "axes.labelcolor": _axes.INK,
    "axes.titlecolor": _axes.INK,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "text.color": _axes.INK,
    "text.parse_math": False,
    "xtick.color": _axes.INK,
    "ytick.color": _axes.INK,
    "xtick.labelsize": 10.5,
    "ytick.labelsize": 10.5,
    "grid.color": _axes.INK,
    "grid.alpha": 0.16,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 10.5,
    "legend.title_fontsize": 10.5,
    "figure.facecolor": "none",
    "path.simplify": False,
}


def static(fig: go.Figure) -> Figure:
    """The plotly figure as a matplotlib one, 480 px wide at 72 px an inch.

    Of a figure with a menu it is the choice that is shown at first, and the title says which.
    Raises ValueError for a type of trace that this package does not emit.
    """
    kinds = {trace.type for trace in fig.data}
    unknown = kinds - {"scatter", "bar", "heatmap", "scatterpolar", "surface"}
    if unknown:
        raise ValueError(f"static cannot draw traces of type {', '.join(sorted(unknown))}.")
    with _look():
        space = "surface" in kinds
        drawn = Figure(layout=None if space else "constrained")
        height = (fig.layout.height or 420) * (0.85 if kinds & {"scatterpolar", "surface"} else 0.8)
        drawn.set_size_inches(WIDTH / 72, height / 72)
        menu = _menu.of(fig)
        heading = [fig.layout.title.text, menu and menu.said()]
        if title := "\n".join(_axes.plain(text) for text in heading if text):
            drawn.suptitle(title, fontsize=13, x=0.01, ha="left")
        if space:
            _surface(drawn, fig)
        elif "scatterpolar" in kinds:
            _polar(drawn, fig)
        else:
            _flat(drawn, fig)
        if fig.layout.showlegend:
            _legend(drawn, fig)
    return drawn


def svg(fig: go.Figure, alt: str = "") -> str:
    """The static form as an SVG element with `alt` as its label; equal figures, equal bytes."""
    salt = hashlib.sha256(f"{fig.to_json()}{alt}".encode()).hexdigest()[:12]
    file = io.StringIO()
    drawn = static(fig)
    with _look({"svg.hashsalt": salt}):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        FigureCanvasSVG(drawn).print_svg(file, metadata=nothing)
    return _clean(file.getvalue(), alt)


@contextmanager
def _look(more: Mapping[str, str] | None = None) -> Iterator[None]:
    """matplotlib's own defaults with our style, whatever the notebook has set."""
    with rc_context():
        rcdefaults()
        rcParams.update(_STYLE | dict(more or {}))
        yield


def _clean(text: str, alt: str) -> str:
    """Fit matplotlib's file into a page: no prologue, no fixed size, the page's font and colour."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r'<g id="[\w.]+_\d+"(/?)>', r"<g\1>", text)  # the same in every figure of a page
    text = re.sub(r' style="fill: #1f77b4; stroke: #\w{6}"', "", text)  # caps have their own
    text = re.sub(r"<[^>]*>", _shorten, text)
    text = text.replace(_axes.INK, "currentColor")
    text = re.sub(r"'DejaVu Sans'(?:, [^;\"]*)?", "var(--qb-font, sans-serif)", text)
    text = re.sub(r"\n\s*", "\n", text)
    box = re.search(r'viewBox="([^"]*)"', text)[1]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{box}" role="img" aria-label="{escape(alt)}" '
        'style="display:block;width:100%;height:auto;max-width:620px;margin:0 auto">'
    )
    return head + text[text.index(">") + 1 :].strip()


def _shorten(tag: re.Match) -> str:
    """A tag with its coordinates to a hundredth of a pixel; what is between tags is left alone."""
    return re.sub(r"-?\d+\.\d{3,}", lambda found: f"{round(float(found[0]), 2):g}", tag[0])


def _flat(drawn: Figure, fig: go.Figure) -> None:
    """Cartesian traces, on one or two axes."""
    shown = _shown(fig)
    sides = sorted({(t.xaxis or "x") for t in shown})
    every = drawn.subplots(1, len(sides), sharey=len(sides) > 1, squeeze=False)[0]
    for ax, side in zip(every, sides, strict=True):
        number = side[1:]
        across, up = fig.layout[f"xaxis{number}"], fig.layout[f"yaxis{number}"]
        traces = [t for t in shown if (t.xaxis or "x") == side]
        groups = [t for t in traces if t.type == "bar"]
        x_names, y_names = _axes.categories(across, traces, "x"), _axes.categories(up, traces, "y")
        _axes.scale(ax, across, up)
        cells = [t for t in traces if t.type == "heatmap"]
        for trace in traces:
            if trace.type == "heatmap":
                _trace.heat_map(drawn, ax, trace, x_names, y_names)
            elif trace.type == "bar":
                names = y_names if trace.orientation == "h" else x_names
                _trace.bar(ax, trace, names, groups.index(trace), len(groups))
            else:
                _trace.scatter(ax, trace, x_names, y_names)
        own = {"type": "rect", "xref": side, "yref": f"y{number}"}
        _trace.frames(ax, fig.select_shapes(own))
        _axes.dress(ax, across, up, x_names, y_names, grid=not cells)
        for note in fig.layout.annotations:
            if note.xref == f"{side} domain":
                ax.set_title(_axes.plain(note.text), fontweight="bold")
    if len(every) > 1:
        every[1].set_ylabel("")


def _shown(fig: go.Figure) -> list:
    """The traces that the figure shows at first."""
    return [trace for trace in fig.data if trace.visible is not False]


def _polar(drawn: Figure, fig: go.Figure) -> None:
    """Radar outlines: the criteria clockwise from the top."""
    ax = drawn.add_subplot(projection="polar")
    ax.set_theta_zero_location("N")
    ax.set_theta_direction(-1)
    names = list(dict.fromkeys(fig.data[0].theta))
    angles = {name: 2 * math.pi * i / len(names) for i, name in enumerate(names)}
    for trace in fig.data:
        _trace.outline(ax, trace, angles)
    ax.set_xticks(list(angles.values()), [_axes.plain(name) for name in names])
    for text, angle in zip(ax.get_xticklabels(), angles.values(), strict=True):
        side = math.sin(angle)
        text.set_ha("center" if abs(side) < 0.1 else "left" if side > 0 else "right")
    ax.set_ylim(*fig.layout.polar.radialaxis.range)
    ax.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    ax.yaxis.set_major_formatter(_axes.number)
    ax.set_rlabel_position(180 / len(names))
    ax.tick_params(axis="y", labelsize=9)
    ax.spines["polar"].set_alpha(0.4)


def _surface(drawn: Figure, fig: go.Figure) -> None:
    """A surface from plotly's camera."""
    ax = drawn.add_subplot(projection="3d")
    _trace.surfaces(ax, fig.data)
    scene = fig.layout.scene
    eye = scene.camera.eye
    ax.view_init(
        math.degrees(math.atan2(eye.z, math.hypot(eye.x, eye.y))),
        math.degrees(math.atan2(eye.y, eye.x)),
    )
    ax.set_box_aspect((1, 1, 0.75), zoom=0.86)
    _axes.dress_space(ax, scene)
    legend = 0.08 if fig.layout.showlegend else 0.0
    drawn.subplots_adjust(left=0.02, right=0.94, bottom=0.02 + legend, top=0.99)


def _legend(drawn: Figure, fig: go.Figure) -> None:
    """One legend for the figure, below it, in as many columns as fit."""
    found = {t.name: t for t in _shown(fig) if t.name and t.showlegend is not False}
    if fig.data[0].type == "surface":
        planes = [trace for trace in fig.data if trace.showlegend]
        handles = [Patch(color=t.colorscale[0][1], alpha=t.opacity) for t in planes]
        labels = [t.name for t in planes]
    else:
        handles = [_handle(trace) for trace in found.values()]
        labels = list(found)
    labels = [_axes.plain(name) for name in labels]
    drawn.legend(
        handles,
        labels,
        loc="outside lower center" if drawn.get_layout_engine() else "lower center",
        ncols=_columns(labels),
        title=_axes.plain(fig.layout.legend.title.text).strip() or None,
        handlelength=2.2,
        columnspacing=1.4,
    )


def _columns(labels: list[str]) -> int:
    """Columns of the legend with the fewest rows that fit its entries into the width.

    An entry is about 6.7 px a character and 48 px of line and space; matplotlib fills columns
    from the left and makes the first ones longer.
    """
    for rows in range(1, len(labels)):
        columns = -(-len(labels) // rows)
        short, longer = divmod(len(labels), columns)
        sizes = [short + (place < longer) for place in range(columns)]
        starts = [sum(sizes[:place]) for place in range(columns)]
        parts = [labels[at : at + size] for at, size in zip(starts, sizes, strict=True)]
        if sum(6.7 * max(map(len, part)) + 48 for part in parts) <= WIDTH:
            return columns
    return 1


def _handle(trace: object) -> Line2D | Patch:
    """The legend's picture of a trace."""
    if trace.type == "bar":
        return Patch(color=trace.marker.color)
    mode = trace.mode or ""
    line, marker = _trace.line_style(trace), _trace.marker_style(trace)
    return Line2D(
        [], [], **(line if "lines" in mode else {"ls": ""}), **(marker if "markers" in mode else {})
    )
