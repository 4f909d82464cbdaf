"""`plane`: designs by one quality against one cost at a time, which a menu chooses."""

from collections.abc import Mapping, Sequence

import pandas as pd
import plotly.graph_objects as go

from qbench.plots import _frame as frame
from qbench.plots import _layout, _menu, lines, theme
from qbench.plots.points import non_dominated


def plane(
    df: pd.DataFrame,
    costs: Mapping[str, str],
    y: str,
    colour: str,
    *,
    name: str,
    details: str | None = None,
    spread: tuple[str, str] | None = None,
    whole: float | None = None,
    first: str | None = None,
    levels: Mapping[str, Mapping[str, float]] | None = None,
    labels: Mapping[str, str] | None = None,
    title: str = "",
) -> go.Figure:
    """Designs as points of y over a cost on a log scale, with the front; a menu changes the cost.

    df: one row a design; a row without a cost is left out where that cost is shown.
    costs: numeric column -> which is better, "lower" or "higher"; the entries of the menu, called
        as in `labels`. `first` is the one shown at first and in the static form (default: the
        first). y is better higher.
    colour: a column whose values the legend shows and hides; `name` names a design in its hover
        box, `details` are more lines of it, with <br> between them. `spread`: the columns with the
        low and the high end of an interval around y.
    whole: what y is a part of, such as 100 for an accuracy in %: the axis is then logarithmic in
        what y lacks of it, so that 99 and 98 are as far apart as 80 and 60.
    levels: cost -> name -> value: vertical lines, such as a requirement. One that is farther from
        all designs than they are from each other is left out: it would take their room.
    Raises ValueError for an unknown or non-numeric column, an empty frame, a cost without a
    positive number, a direction that is neither "lower" nor "higher", a `first` that is no cost, or
    y that is not below `whole`.
    """
    low, high = spread or (None, None)
    named = {"y": y, "colour": colour, "name": name, "details": details, "low": low, "high": high}
    frame.check("plane", df, ("y", *costs), **named, **{cost: cost for cost in costs})
    if whole is not None and not all(v < whole for v in frame.finite(df[y])):
        raise ValueError(f"plane needs numbers below {whole:g}, the whole, in column {y!r}.")
    if first is not None and first not in costs:
        raise ValueError(f"plane has no cost {first!r} to show first; it has {', '.join(costs)}.")
    for cost, direction in costs.items():
        if direction not in ("lower", "higher"):
            raise ValueError(f"plane: better is 'lower' or 'higher', not {direction!r}.")
        lines.check_log("plane", df, cost)
    names = [frame.label(cost, labels) for cost in costs]
    place = list(costs).index(first) if first else 0
    order = frame.levels(df[colour])
    fig, settings = go.Figure(), []
    for number, (cost, direction) in enumerate(costs.items()):
        rows = df[df[cost] > 0].dropna(subset=[y])
        start = len(fig.data)
        _front(fig, rows, cost, y, direction, whole)
        _menu.assign(fig.data[start:], number, "front", number == place)
        for at, line in enumerate(frame.series("plane", rows, colour, order)):
            start = len(fig.data)
            _points(fig, line, cost, y, labels, name, details, spread, whole)
            _menu.assign(fig.data[start:], number, at, number == place)
        heights = _drawn(df[y].dropna(), whole)
        ends = [float(heights.min()), float(heights.max())]
        for at, (what, value) in enumerate((levels or {}).get(cost, {}).items()):
            if _far(value, rows[cost]):
                continue
            start = len(fig.data)
            lines.level(fig, what, value, ends, at, {}, upright=True)
            _menu.assign(fig.data[start:], number, f"level {at}", number == place)
        across = _layout.x_axis(names[number], frame.numbers(rows[cost]), log=True)
        shown = [trace for trace in fig.data if _menu.choice(trace) == number]
        across |= _menu.extent(go.Figure(shown), "x", log=True)
        settings.append(_settings(across))
    chosen = _menu.Menu("Against", tuple(names), place, tuple(settings))
    upright = _upright(fig, frame.label(y, labels), df[y].dropna(), whole)
    start = _layout.x_axis(names[place], (), log=True)
    fig = _layout.finish(
        fig,
        title,
        legend=frame.label(colour, labels),
        height=420,
        menu=chosen,
        xaxis=start,
        yaxis=upright,
    )
    fig.update_layout({path.replace(".", "_"): value for path, value in settings[place].items()})
    return fig


def _far(value: float, costs: pd.Series) -> bool:
    """Whether `value` is farther from all costs, on a log scale, than they are from each other."""
    low, high = costs.min(), costs.max()
    return not low <= value <= high and max(low / value, value / high) > high / low


def _settings(axis: Mapping[str, object]) -> dict[str, object]:
    """What the menu's choice sets of the x axis, as dotted paths; what it lacks is taken back."""
    ticks = ("tickvals", "ticktext", "dtick")
    return {
        "xaxis.title.text": axis["title"]["text"],
        "xaxis.range": list(axis["range"]),
        **{f"xaxis.{name}": axis.get(name) for name in ticks},
    }


def _drawn(values: pd.Series, whole: float | None) -> pd.Series:
    """What is drawn for a value: itself, or what it lacks of the whole."""
    return values if whole is None else whole - values


def _upright(fig: go.Figure, title: str, values: pd.Series, whole: float | None) -> dict:
    """The y axis; with a whole it runs from much to little that is lacking, named by the values."""
    axis = _layout.y_axis(title, frame.numbers(values))
    if whole is None:
        return axis | _menu.extent(fig, "y", log=False)
    lacking = _drawn(values, whole)
    most = float(lacking.max())
    ticks = [tick for tick in _layout.log_ticks(float(lacking.min()), most) if tick < whole]
    # The whole itself has no place on a log scale, so the low end needs a tick of its own.
    last = [tick for tick in (0.6 * whole, 0.7 * whole, 0.8 * whole, 0.9 * whole) if tick <= most]
    ticks += [tick for tick in last[-1:] if tick > 1.1 * max(ticks, default=0)]
    axis |= {"type": "log", "tickvals": ticks, "ticktext": [f"{whole - t:g}" for t in ticks]}
    return axis | {"range": _menu.extent(fig, "y", log=True)["range"][::-1]}


def _front(
    fig: go.Figure, rows: pd.DataFrame, cost: str, y: str, direction: str, whole: float | None
) -> None:
    best = rows[non_dominated(rows, cost, y, (direction, "higher"))]
    best = best.sort_values([cost, y], ascending=[True, direction == "lower"], kind="stable")
    fig.add_scatter(
        x=frame.numbers(best[cost]),
        y=frame.numbers(_drawn(best[y], whole)),
        mode="lines",
        name="Pareto front",
        line={
            "color": theme.NEUTRAL,
            "width": 2,
            "shape": "hv" if direction == "lower" else "vh",
        },
        hoverinfo="skip",
    )


def _points(
    fig: go.Figure,
    line: frame.Series,
    cost: str,
    y: str,
    labels: Mapping[str, str] | None,
    name: str,
    details: str | None,
    spread: tuple[str, str] | None,
    whole: float | None,
) -> None:
    """One series; without a point it stays in the legend, the same for each choice."""
    rows = line.rows
    said = [f"<b>{frame.word(value)}</b>" for value in rows[name]]
    if details:
        said = [f"{a}<br>{frame.word(b)}" for a, b in zip(said, rows[details], strict=True)]
    fig.add_scatter(
        x=frame.numbers(rows[cost]) or [None],
        y=frame.numbers(_drawn(rows[y], whole)) or [None],
        error_y=_bars(rows, y, spread, whole),
        mode="markers",
        name=line.name,
        text=said or [""],
        customdata=frame.numbers(rows[y]) or [None],
        marker={"color": line.colour, "symbol": line.symbol, "size": 8},
        hovertemplate=_box(rows, labels, cost, y),
        showlegend=True,
    )


def _bars(
    rows: pd.DataFrame, y: str, spread: tuple[str, str] | None, whole: float | None
) -> dict | None:
    """Error bars, unless no interval has a length."""
    if spread is None or not (rows[spread[0]] < rows[spread[1]]).any():
        return None
    low, high = spread if whole is None else spread[::-1]
    return lines.error_bars(*(_drawn(rows[column], whole) for column in (y, low, high)))


def _box(rows: pd.DataFrame, labels: Mapping[str, str] | None, cost: str, y: str) -> str:
    parts: Sequence[str] = [
        frame.hover(frame.label(y, labels), "customdata", rows[y]),
        frame.hover(frame.label(cost, labels), "x", rows[cost]),
    ]
    return "<br>".join(["%{text}", *parts]) + "<extra></extra>"
