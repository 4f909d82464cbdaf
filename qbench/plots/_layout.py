"""Laying a figure out: axes, legend below, room for both, and the form for narrow screens."""

import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import plotly.graph_objects as go

from qbench.plots import _menu, theme

#: Width in px of the article column of the book, and of a figure on a phone.
WIDE, NARROW = 690, 350
_GLYPH = 7.0  # px, mean width of a character at the base size
_ROW = 20  # px, one row of the legend
_LOG = {"type": "log", "exponentformat": "power", "minexponent": 3}


def wrap(text: str, width: int) -> str:
    """The text in lines of at most `width` characters, as plotly breaks lines."""
    lines = [part for line in text.split("<br>") for part in textwrap.wrap(line, width) or [""]]
    return "<br>".join(lines)


def lines(text: str) -> int:
    """How many lines the text takes in plotly (0 if it is empty)."""
    return text.count("<br>") + 1 if text else 0


def widest(text: str) -> int:
    """Characters in the longest line of the text, without markup."""
    return max(len(re.sub(r"<[^>]*>", "", line)) for line in text.split("<br>"))


def legend_rows(names: Sequence[str], width: int) -> int:
    """Rows that plotly's horizontal legend takes: it stands in columns as wide as the widest."""
    if not names:
        return 0
    entry = _GLYPH * max(widest(name) for name in names) + 56
    whole = sum(_GLYPH * widest(name) + 56 for name in names)
    if whole <= width:
        return 1
    return math.ceil(len(names) / max(1, int(width // entry)))


def names(fig: go.Figure, choice: int = 0) -> list[str]:
    """The names that the figure's legend shows, with a menu those of one choice."""
    shown = [t for t in fig.data if _menu.choice(t) in (None, choice)]
    return [t.name for t in shown if t.name and t.showlegend is not False]


def finish(
    fig: go.Figure,
    title: str = "",
    *,
    legend: str = "",
    height: int = 340,
    below: int = 54,
    facets: Sequence[str] = (),
    narrow: Mapping[str, object] | None = None,
    narrow_height: int | None = None,
    menu: _menu.Menu | None = None,
    toolbar: int = 0,
    **layout: object,
) -> go.Figure:
    """Give the figure the book's look and the room that its title and legend need.

    `height` is that of the plotting area in px and `below` the room for the x axis' ticks and
    title. `layout.meta.narrow` holds the settings (dotted paths) that `qbench.js` applies on a
    narrow screen, where two facets are stacked. With a `menu`, the room suits its longest legend.
    `toolbar` is room in px above the plot for plotly's buttons, where they would hide something.
    """
    every = [names(fig, choice) for choice in range(len(menu.names) if menu else 1)]
    with_legend = any(len(shown) > 1 or bool(legend and shown) for shown in every)
    title = wrap(title, 46)
    above = (20 if any(facets) else 0) + (_menu.ROOM if menu else 0) + toolbar
    top = 14 + 20 * lines(title) + above
    heading = 1 if legend and with_legend else 0

    def bottom(width: int) -> int:
        rows = max(legend_rows(shown, width) for shown in every) + heading if with_legend else 0
        return below + (rows * _ROW + 12 if rows else 0)

    small = dict(narrow or {})
    tall = narrow_height or height
    if len(facets) == 2:
        tall = 2 * height - 60
        share = (tall - 70) / tall / 2
        small |= {
            "xaxis.domain": [0, 1],
            "xaxis2.domain": [0, 1],
            "yaxis.domain": [1 - share, 1],
            "yaxis2.domain": [0, share],
            "yaxis2.showticklabels": True,
            "xaxis.title.text": "",
        }
    small |= {"height": top + tall + bottom(NARROW), "margin.b": bottom(NARROW)}
    fig.update_layout(
        template=theme.template(),
        height=top + height + bottom(WIDE),
        margin={"l": 56, "r": 14, "t": top, "b": bottom(WIDE), "pad": 0},
        showlegend=with_legend,
        meta={"narrow": small},
        annotations=[_heading(text, i) for i, text in enumerate(facets) if text],
        **layout,
    )
    if title:
        # plotly anchors the first line of a title and lets the others hang below it.
        clear = 10 + 20 * (lines(title) - 1) + above
        fig.update_layout(title={"text": title, "pad": {"b": clear}})
    if heading:
        fig.update_layout(legend_title_text=legend)
    if menu:
        said = {name: value for name, value in asdict(menu).items() if value != ()}
        fig.layout.meta["menu"] = said | {"room": _menu.ROOM}
        fig.update_layout(updatemenus=_menu.buttons(fig, menu))
    return fig


def _heading(text: str, index: int) -> dict:
    """The name of a facet, above its plot."""
    number = "" if index == 0 else str(index + 1)
    return {
        "text": f"<b>{wrap(text, 44)}</b>",
        "x": 0.5,
        "y": 1,
        "xref": f"x{number} domain",
        "yref": f"y{number} domain",
        "xanchor": "center",
        "yanchor": "bottom",
        "yshift": 2,
        "showarrow": False,
    }


def x_axis(title: str, values: Sequence = (), log: bool = False) -> dict:
    """An x axis: whole numbers get one tick each, a short log scale a tick at each value."""
    return _axis(wrap(title, 44), values, log)


def y_axis(title: str, values: Sequence = (), log: bool = False) -> dict:
    """A y axis; on a log scale, its ticks are powers of ten, or numbers between where few."""
    axis = {"title": {"text": wrap(title, 40)}}
    if not log:
        return axis
    given = [v for v in values if v is not None and v > 0]
    if max(given) / min(given) >= 150:
        return axis | _LOG | {"dtick": 1}
    ticks = log_ticks(min(given), max(given))
    return axis | _LOG | {"tickvals": ticks, "ticktext": [f"{v:g}" for v in ticks]}


def log_ticks(low: float, high: float) -> list[float]:
    """Ticks for a short log scale from `low` to `high`: 1, 2, 5 a decade, or evenly spaced ones
    where only one or two of these would show."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    round_ones = [float(f"{m}e{e}") for e in range(first, last + 1) for m in (1, 2, 5)]
    if sum(low <= v <= high for v in round_ones) >= 3:
        return [v for v in round_ones if low / 2 <= v <= high * 2]
    step = 10 ** math.floor(math.log10(high - low)) if high > low else low
    step = next(step * m for m in (0.2, 0.5, 1, 2, 5) if (high - low) / (step * m) <= 6)
    places = range(math.floor(low / step), math.ceil(high / step) + 1)
    return [float(f"{n * step:.6g}") for n in places if n > 0]


def _axis(title: str, values: Sequence, log: bool) -> dict:
    axis: dict = {"title": {"text": title}}
    distinct = sorted({v for v in values if isinstance(v, int | float)})
    whole = bool(distinct) and all(v == int(v) for v in distinct)
    if log:
        axis |= _LOG
        if 1 < len(distinct) <= 9 and whole:
            axis |= {"tickvals": distinct, "ticktext": [f"{v:,.0f}" for v in distinct]}
        else:
            axis |= {"dtick": 1}
    elif any(isinstance(v, str) for v in values):
        axis |= {"type": "category"}
    elif whole and distinct[-1] - distinct[0] <= 12:
        axis |= {"dtick": 1}
    return axis
