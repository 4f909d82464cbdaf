"""The book's visual identity: colours, fonts and the plotly template, for light and dark pages.

A figure is built once, in the light theme on white paper, so that it reads well wherever it is
opened. In the book, `qbench.js` replaces each colour of `CSS_VARIABLES` by the value its CSS
variable has in the reader's theme. The colours of the data do not change between themes: each of
them has a contrast of at least 3:1 on white and on the dark theme's background.
"""

from collections.abc import Sequence

import plotly.graph_objects as go

PAPER = "#ffffff"
PAPER_DARK = "#121212"

#: Okabe and Ito's hues, moved until every colour keeps 3:1 on both papers and every pair stays
#: apart for normal, protan, deutan and tritan vision (tests/test_plots_figures.py computes both).
PALETTE = ("#0c62c9", "#d27c08", "#249652", "#b13691", "#8d5a15", "#2297e4", "#cc74a3")
#: Published values, planes and fronts: no series has this colour.
NEUTRAL = "#787878"

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x")
DASHES = ("solid", "dash")
CROSSED_DASHES = ("solid", "dash", "dot", "dashdot")  # where colour and dash each mean something
MAX_SERIES = len(PALETTE) * len(DASHES)

INK = "#222832"
GRID = "#dfe3e8"
AXIS = "#8a94a0"
SURFACE = "#f3f4f5"
CLEAR = "rgba(255,255,255,0)"

#: Colour of the light template -> the CSS variable that takes its place on a page of the book.
CSS_VARIABLES = {
    INK: "--qb-ink",
    GRID: "--qb-grid",
    AXIS: "--qb-axis",
    SURFACE: "--qb-surface",
    PAPER: "--qb-paper",
}

FONT_FAMILY = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
FONT_SIZE = 13
SEQUENTIAL = "Cividis"
DIVERGING = "RdBu_r"  # blue below, red above: apart for every kind of colour vision


def luminance(colour: str) -> float:
    """The relative luminance, 0 to 1, of an sRGB colour written `#rrggbb` (WCAG 2.2)."""
    channels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    """The contrast ratio, 1 to 21, of two colours written `#rrggbb` (WCAG 2.2)."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def text_on(background: str) -> str:
    """Black or white, whichever reads better on `background`; always at least 4.5:1."""
    return max(("#000000", "#ffffff"), key=lambda ink: contrast(ink, background))


def fade(colour: str, alpha: float) -> str:
    """`#rrggbb` as a CSS colour with opacity `alpha`, 0 to 1."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha:g})"


def style(index: int) -> tuple[str, str, str]:
    """Colour, marker symbol and dash of the series number `index`; no two series share all three.

    The second round of colours moves on by three symbols, which are hollow, and is dashed.
    """
    turn, place = divmod(index, len(PALETTE))
    symbol = SYMBOLS[(place + 3 * turn) % len(SYMBOLS)] + "-open" * (turn % len(DASHES))
    return PALETTE[place], symbol, DASHES[turn % len(DASHES)]


def template() -> go.layout.Template:
    """The plotly template that every figure of this package carries."""
    axis = {
        "gridcolor": GRID,
        "linecolor": AXIS,
        "tickcolor": AXIS,
        "zerolinecolor": AXIS,
        "zerolinewidth": 1,
        "automargin": True,
        "exponentformat": "SI",
        "minexponent": 4,
        "title": {"standoff": 8, "font": {"size": FONT_SIZE}},
    }
    flat = axis | {"showline": True, "ticks": "outside", "ticklen": 4, "zeroline": False}
    deep = {key: value for key, value in axis.items() if key not in ("automargin", "title")}
    deep |= {"showbackground": False, "tickfont": {"size": 11}, "title": {"font": {"size": 12}}}
    radial = {"gridcolor": GRID, "linecolor": AXIS, "tickcolor": AXIS}
    return go.layout.Template(
        layout={
            "font": {"family": FONT_FAMILY, "size": FONT_SIZE, "color": INK},
            "paper_bgcolor": PAPER,
            "plot_bgcolor": CLEAR,
            "colorway": list(PALETTE),
            "title": {
                "font": {"size": 15},
                "x": 0,
                "xref": "container",
                "xanchor": "left",
                "y": 1,
                "yref": "paper",
                "yanchor": "bottom",
                "pad": {"b": 10, "l": 6},
            },
            "legend": {
                "orientation": "h",
                "x": 0.5,
                "xanchor": "center",
                "y": 0,
                "yref": "container",
                "yanchor": "bottom",
                "bgcolor": CLEAR,
                "itemwidth": 38,
                "itemsizing": "constant",
                "font": {"size": 12},
                "title": {"side": "top", "font": {"size": 12}},
            },
            "hoverlabel": {
                "bgcolor": SURFACE,
                "bordercolor": AXIS,
                "font": {"family": FONT_FAMILY, "size": 12, "color": INK},
                "align": "left",
                "namelength": -1,
            },
            "modebar": {"bgcolor": CLEAR, "color": AXIS, "activecolor": INK},
            "xaxis": flat,
            "yaxis": flat,
            "polar": {
                "bgcolor": CLEAR,
                "radialaxis": radial | {"tickfont": {"size": 11}},
                "angularaxis": radial,
            },
            "scene": {"xaxis": deep, "yaxis": deep, "zaxis": deep},
        }
    )


def colour_at(scale: Sequence[tuple[float, str]], fraction: float) -> str:
    """The colour, `#rrggbb`, at `fraction` (0 to 1) of a plotly colour scale."""
    for (low, first), (high, second) in zip(scale, scale[1:], strict=False):
        if fraction <= high:
            share = (fraction - low) / (high - low)
            pair = zip(_channels(first), _channels(second), strict=True)
            return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pair)
    return "#" + "".join(f"{c:02x}" for c in _channels(scale[-1][1]))


def _channels(colour: str) -> tuple[int, int, int]:
    if colour.startswith("#"):
        return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
    red, green, blue = (int(float(c)) for c in colour[colour.index("(") + 1 : -1].split(",")[:3])
    return red, green, blue
