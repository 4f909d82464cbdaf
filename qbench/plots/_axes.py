"""plotly's axes on matplotlib: categories, scales, ticks, titles."""

import math
import re
from collections.abc import Sequence
from html import unescape

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, MultipleLocator, NullLocator

#: Stands for the page's text colour until the SVG is written; no figure uses it otherwise.
INK = "#010203"
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def plain(text: str | None) -> str:
    """plotly's text without its markup, its breaks as new lines."""
    return unescape(re.sub(r"<[^>]*>", "", re.sub(r"<br ?/?>", "\n", text or "")))


def number(value: float, _position: int | None = None) -> str:
    """A tick as plotly's SI format writes it: 0.25, 1,000, 20k, 1.5M."""
    size = abs(value)
    if size >= 1e4:
        for limit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
            if size >= limit:
                return f"{value / limit:.4g}{letter}".replace("-", "−")
    return f"{value:,.4g}".replace("-", "−") if size < 1e3 else f"{value:,.0f}".replace("-", "−")


def power(value: float, _position: int | None = None) -> str:
    """A tick of a log scale: 0.1, 1, 10, 100, then 10³ and beyond."""
    exponent = math.log10(value)
    if abs(exponent - round(exponent)) > 1e-9:
        return f"{value:g}"
    exponent = round(exponent)
    if -3 < exponent < 3:
        return f"{value:g}"
    return "10" + str(exponent).translate(_RAISED)


def categories(axis: object, traces: Sequence, role: str) -> list[str] | None:
    """The names along a category axis, in order; None for an axis of numbers."""
    if axis.type != "category":
        return None
    if axis.categoryarray is not None:
        return list(axis.categoryarray)
    return list(dict.fromkeys(v for t in traces for v in t[role] if v is not None))


def places(values: Sequence, names: list[str] | None) -> list[float]:
    """Coordinates: the values themselves or their place among the names; NaN for a gap."""
    if names is None:
        return [math.nan if v is None else float(v) for v in values]
    index = {name: i for i, name in enumerate(names)}
    return [math.nan if v is None else index[v] for v in values]


def scale(ax: Axes, across: object, up: object) -> None:
    """Set logarithmic scales before anything is drawn."""
    if across.type == "log":
        ax.set_xscale("log")
    if up.type == "log":
        ax.set_yscale("log")


def dress(ax: Axes, across: object, up: object, x_names, y_names, grid: bool) -> None:
    """Titles, ticks and grid, as plotly has them."""
    ax.set_xlabel(plain(across.title.text))
    ax.set_ylabel(plain(up.title.text))
    if grid:
        ax.grid(True)
        for letter, names in (("x", x_names), ("y", y_names)):
            if names is not None:
                ax.grid(False, axis=letter)
    for axis, settings, names in ((ax.xaxis, across, x_names), (ax.yaxis, up, y_names)):
        if names is not None:
            axis.set_ticks(range(len(names)), [plain(name) for name in names])
            if not grid:
                axis.set_tick_params(length=0)
        else:
            _ticks(axis, settings)
    if not grid:
        for spine in ax.spines.values():
            spine.set_visible(False)
    elif x_names is not None:
        ax.set_xlim(-0.6, len(x_names) - 0.4)
    elif y_names is not None:
        ends = (-0.6, len(y_names) - 0.4)
        ax.set_ylim(ends[::-1] if up.autorange == "reversed" else ends)


def dress_space(ax: Axes, scene: object) -> None:
    """Axes of a surface: clear panes, a faint grid, titles that keep clear of the ticks."""
    for name in "xyz":
        axis, settings = getattr(ax, f"{name}axis"), scene[f"{name}axis"]
        axis.set_pane_color((0, 0, 0, 0))
        axis.pane.set_edgecolor((0, 0, 0, 0))
        axis.line.set_alpha(0.5)
        axis._axinfo["grid"].update(color=INK + "29", linewidth=0.6)
        getattr(ax, f"set_{name}label")(plain(settings.title.text), labelpad=6)
        axis.set_tick_params(labelsize=9.5, pad=1)
        _ticks(axis, settings)


def _ticks(axis: object, settings: object) -> None:
    """Limits and ticks of an axis of numbers."""
    if settings.range is not None:
        limits = [10**v for v in settings.range] if settings.type == "log" else settings.range
        axis.axes.set(**{f"{axis.axis_name}lim": limits})
    if settings.tickvals is not None:
        axis.set_major_locator(FixedLocator(list(settings.tickvals)))
        axis.set_minor_locator(NullLocator())
        texts = dict(zip(settings.tickvals, settings.ticktext, strict=True))
        axis.set_major_formatter(lambda value, _: texts.get(value, ""))
    elif settings.type == "log":
        between = (1.0, 2.0, 5.0) if settings.dtick == "D2" else (1.0,)
        axis.set_major_locator(LogLocator(subs=between, numticks=8))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(power)
    elif settings.dtick is not None:
        axis.set_major_locator(MultipleLocator(float(settings.dtick)))
        axis.set_major_formatter(number)
    else:
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
        axis.set_major_formatter(number)
