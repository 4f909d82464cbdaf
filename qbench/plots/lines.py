"""Figures of lines: `curves` (measured points joined) and `steps` (staircases of a quantiser)."""

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from qbench.plots import _frame as frame
from qbench.plots import _layout, _menu, theme

Reference = pd.DataFrame | Mapping[str, float]
Spread = str | tuple[str, str]


def curves(
    df: pd.DataFrame,
    x: str,
    y: str,
    colour: str | None = None,
    facet: str | None = None,
    spread: Spread | None = None,
    reference: Reference | None = None,
    *,
    dash: str | None = None,
    menu: str | None = None,
    menu_first: object = None,
    name: str | None = None,
    labels: Mapping[str, str] | None = None,
    title: str = "",
    log_x: bool = False,
    log_y: bool = False,
    reference_name: str = "published",
    name_levels: bool = False,
) -> go.Figure:
    """Lines with markers, one for each value of `colour`, in one or two facets with one y scale.

    dash: a second column (with `colour`, without `reference`): one line for each pair of values,
        coloured by the one, dashed and marked by the other (at most 4 values).
    menu: a column (without `facet` or `dash`) whose values a menu above the figure shows one at a
        time, in the same colours and on the same axes; rows without one are left out. `menu_first`
        is the value shown at first and in the static form; by default the middle one of numbers
        (of an even count the lower), else the first one.
    name: how the legend calls a line, with the columns of `colour`, `dash` and `menu` in braces,
        e.g. "W{weight_bits}A{act_bits}"; by default the values alone, as in "2, 4".

    df: one row a point, already aggregated over seeds; numeric x is sorted, missing y is a gap.
    spread: a column with the half-width of the interval around y, in the unit of y, or the two
        columns with its low and high end; a band (error bars where x is no number).
    reference: published points, a frame with the columns x and y (and colour, facet, menu, if
        they apply), drawn as open markers; or a mapping name -> y, drawn as horizontal lines.
    name_levels: the horizontal lines are named at their right ends instead of in the legend.
    labels: column -> axis title with the unit in brackets, e.g. {"ms": "Latency (ms)"}.
    Raises ValueError for an unknown or non-numeric column, an empty frame, too many series
    (more than 13) or facets (more than 2), numbers <= 0 only on a log scale, a menu with facets or
    dashes, or a `menu_first` that is no value of `menu`.
    """
    low, high = spread if isinstance(spread, tuple) else (spread, None)
    check_columns = {"x": x, "y": y, "colour": colour, "facet": facet, "spread": low, "high": high}
    check_columns |= {"dash": dash, "menu": menu}
    frame.check("curves", df, ("y", "spread", "high"), **check_columns)
    if menu is None and menu_first is not None:
        raise ValueError("curves takes menu_first only with menu; name the column of the menu.")
    if menu and (facet or dash):
        raise ValueError("curves shows a menu or facet and dash, not both; leave out one of them.")
    chosen = None
    if menu:
        df = df.dropna(subset=[menu])
        chosen = _menu.menu("curves", df, menu, menu_first, frame.label(menu, labels))
        frame.check("curves", df, ("y",), y=y)  # what is left has numbers too
    for column, log in ((x, log_x), (y, log_y)):
        if log:
            check_log("curves", df, column)
    parts = frame.parts(df, menu) if menu else frame.facets("curves", df, facet)
    order = frame.levels(df[colour]) if colour else None
    # Published values without the menu's column are shown with every choice, after its lines.
    apart = not menu or (isinstance(reference, pd.DataFrame) and menu in reference)
    fig = go.Figure()
    for number, (part, rows) in enumerate(parts):
        axes = _axes(0 if menu else number)
        both = dash and frame.crossed("curves", rows, colour, dash, name)
        among = {menu: part} if menu else None
        series = both or frame.series("curves", rows, colour, order, name, among)
        for place, line in enumerate(series):
            if len(line.rows):
                start = len(fig.data)
                _curve(fig, line, x, y, (low, high), labels, log_y, axes)
                if chosen:
                    _menu.assign(fig.data[start:], number, place, number == chosen.first)
        if reference is None or not (apart or number == len(parts) - 1):
            continue
        start = len(fig.data)
        whose = (menu or facet, part) if apart else (None, "")
        _reference(fig, df, reference, x, y, colour, whose, order, axes, reference_name)
        if chosen and apart:
            _menu.assign(fig.data[start:], number, "published", number == chosen.first)
        if name_levels and isinstance(reference, Mapping):
            _name_levels(fig, reference, axes)
    _show_once(fig)
    legend = ", ".join(frame.label(column, labels) for column in (colour, dash) if column)
    one = [("", df)] if menu else parts
    return _finish(fig, df, x, y, legend, one, labels, title, log_x, log_y, chosen)


def steps(
    df: pd.DataFrame,
    x: str,
    y: str,
    colour: str | None = None,
    facet: str | None = None,
    *,
    labels: Mapping[str, str] | None = None,
    title: str = "",
    identity: bool = False,
) -> go.Figure:
    """Staircases: y keeps its value from each x to the next, as a quantiser's output does.

    df: one row a point, x and y in the units of the quantity that is quantised; a staircase needs
    a row at each threshold, or a fine grid of x. `identity` adds the line y = x. Facets share the
    y scale. Raises ValueError for an unknown or non-numeric column, an empty frame, more than 13
    series or 2 facets.
    """
    frame.check("steps", df, ("x", "y"), x=x, y=y, colour=colour, facet=facet)
    parts = frame.facets("steps", df, facet)
    order = frame.levels(df[colour]) if colour else None
    fig = go.Figure()
    for number, (_, rows) in enumerate(parts):
        if identity:
            ends = [min(frame.finite(rows[x])), max(frame.finite(rows[x]))]
            fig.add_scatter(
                x=ends,
                y=ends,
                mode="lines",
                name="no quantisation",
                legendgroup="identity",
                hoverinfo="skip",
                line={"color": theme.NEUTRAL, "width": 1.5, "dash": "dot"},
                **_axes(number),
            )
        for line in frame.series("steps", rows, colour, order):
            stairs = line.rows.dropna(subset=[x]).sort_values(x, kind="stable")
            if stairs.empty:  # in this facet
                continue
            kept = stairs[y].ne(stairs[y].shift())  # a tread needs its start only
            kept.iloc[-1:] = True
            stairs = stairs[kept.to_numpy()]
            fig.add_scatter(
                x=frame.numbers(stairs[x]),
                y=frame.numbers(stairs[y]),
                mode="lines",
                name=line.name,
                legendgroup=line.name,
                line={"color": line.colour, "dash": line.dash, "width": 2, "shape": "hv"},
                hovertemplate=hover_box(df, labels, line.name, x=x, y=y),
                **_axes(number),
            )
    _show_once(fig)
    legend = frame.label(colour, labels) if colour else ""
    return _finish(fig, df, x, y, legend, parts, labels, title, False, False)


def hover_box(df: pd.DataFrame, labels: Mapping[str, str] | None, name: str, **columns: str) -> str:
    """The text of a hover box: the series in bold, then each variable with its number and unit."""
    said = [f"<b>{name}</b>"] if name else []
    said += [frame.hover(frame.label(c, labels), v, df[c]) for v, c in columns.items()]
    return "<br>".join(said) + "<extra></extra>"


def check_log(what: str, df: pd.DataFrame, column: str) -> None:
    """Refuse a logarithmic scale for a column without a positive number."""
    if not frame.is_number(df[column]) or not any(v > 0 for v in frame.finite(df[column])):
        raise ValueError(f"{what} needs positive numbers in column {column!r} for a log scale.")


def level(
    fig: go.Figure,
    name: str,
    height: float,
    ends: list,
    index: int,
    axes: dict,
    *,
    upright: bool = False,
) -> None:
    """Add a horizontal line at `height` (a published value) between the two x in `ends`.

    `upright` swaps the two axes.
    """
    at, to = ("y", "x") if upright else ("x", "y")
    dash = ("dot", "dash", "dashdot", "longdash")[index % 4]
    fig.add_scatter(
        mode="lines",
        name=name,
        legendgroup=f"level {name}",
        line={"color": theme.NEUTRAL, "width": 2, "dash": dash},
        hovertemplate=f"{name}: %{{{to}:,.4~r}}<extra></extra>",
        **{at: ends, to: [height, height]},
        **axes,
    )


def _axes(number: int) -> dict[str, str]:
    return {"xaxis": "x2", "yaxis": "y2"} if number else {"xaxis": "x", "yaxis": "y"}


def _curve(fig, line, x, y, spread, labels, log_y, axes) -> None:
    """Add one series, with its band below it."""
    rows = line.rows.dropna(subset=[x])
    numeric = frame.is_number(rows[x])
    if numeric:
        rows = rows.sort_values(x, kind="stable")
    low, high = spread
    bars = None
    if low is not None:
        down = rows[y] - rows[low] if high is None else rows[low]
        up = rows[y] + rows[low] if high is None else rows[high]
        if numeric:
            _band(fig, line, rows[x], down, up, log_y, axes)
        else:
            bars = error_bars(rows[y], down, up)
    fig.add_scatter(
        x=frame.points(rows[x]),
        y=frame.numbers(rows[y]),
        mode="lines+markers",
        name=line.name,
        legendgroup=line.name,
        line={"color": line.colour, "width": 2, "dash": line.dash},
        marker={"color": line.colour, "symbol": line.symbol, "size": 8},
        error_y=bars,
        hovertemplate=hover_box(rows, labels, line.name, x=x, y=y),
        **axes,
    )


def error_bars(centre: pd.Series, low: pd.Series, high: pd.Series) -> dict:
    """plotly's asymmetric error bars from the ends of an interval, in the unit of `centre`."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [v or 0 for v in frame.numbers(high - centre)],
        "arrayminus": [v or 0 for v in frame.numbers(centre - low)],
        "thickness": 1.3,
        "width": 4,
    }


def _band(fig, line, x, low, high, log_y, axes) -> None:
    """Add the interval as one closed outline; points without an interval are left out."""
    given = (x.notna() & low.notna() & high.notna()).to_numpy()
    x, low, high = (frame.numbers(v[given]) for v in (x, low, high))
    if len(x) < 2:
        return
    if log_y:
        floor = min([v for v in high if v > 0], default=1) / 10
        low = [max(v, floor) for v in low]
    fig.add_scatter(
        x=x + x[::-1],
        y=high + low[::-1],
        mode="lines",
        line={"width": 0, "color": line.colour},
        fill="toself",
        fillcolor=theme.fade(line.colour, 0.2),
        name=line.name,
        legendgroup=line.name,
        showlegend=False,
        hoverinfo="skip",
        **axes,
    )


def _reference(fig, df, reference, x, y, colour, facet, order, axes, name) -> None:
    """Add published values: open markers in their series' colour, or horizontal lines."""
    if not isinstance(reference, pd.DataFrame):
        ends = frame.levels(df[x])
        ends = [frame.points(pd.Series([v]))[0] for v in (ends[0], ends[-1])]
        for index, (what, height) in enumerate(reference.items()):
            level(fig, what, float(height), ends, index, axes)
        return
    frame.check("curves' reference", reference, ("y",), x=x, y=y)
    column, value = facet
    if column is not None and column in reference:
        reference = reference[[frame.word(v) == value for v in reference[column]]]
    if reference.empty:
        return
    known = colour is not None and colour in reference
    for line in frame.series("curves' reference", reference, colour if known else None, order):
        tint = line.colour if known else theme.NEUTRAL
        shape = line.symbol.removesuffix("-open") if known else "circle"
        if line.rows.empty:
            continue
        fig.add_scatter(
            x=frame.points(line.rows[x]),
            y=frame.numbers(line.rows[y]),
            mode="markers",
            name=name,
            legendgroup="published",
            showlegend=False,
            marker={
                "color": tint,
                "symbol": f"{shape}-open",
                "size": 13,
                "line": {"width": 2, "color": tint},
            },
            hovertemplate=hover_box(df, None, f"{line.name} {name}".strip(), x=x, y=y),
            **axes,
        )
    fig.add_scatter(
        x=[None],
        y=[None],
        mode="markers",
        name=name,
        legendgroup="published",
        marker={"color": theme.NEUTRAL, "symbol": "circle-open", "size": 13, "line": {"width": 2}},
        **axes,
    )


def _name_levels(fig: go.Figure, heights: Mapping[str, float], axes: dict) -> None:
    """Write each level's name on the right end of its line, and take it out of the legend."""
    last = None
    for trace in fig.data:
        if str(trace.legendgroup).startswith("level "):
            trace.showlegend, last = False, trace.x[-1]
    fig.add_scatter(
        x=[last] * len(heights),
        y=[float(height) for height in heights.values()],
        text=list(heights),
        mode="markers+text",
        marker={"size": 3, "color": theme.NEUTRAL, "opacity": 0},  # keeps the text off the line
        textposition="top left",
        textfont={"color": [theme.NEUTRAL] * len(heights), "size": 11},
        hoverinfo="skip",
        showlegend=False,
        **axes,
    )


def _show_once(fig: go.Figure) -> None:
    """Keep one legend entry a group in each choice, however many facets draw it."""
    seen: set[tuple] = set()
    for trace in fig.data:
        if trace.showlegend is False:
            continue
        group = _menu.choice(trace), trace.legendgroup
        trace.showlegend = bool(trace.name) and group not in seen
        seen.add(group)


def _finish(fig, df, x, y, legend, parts, labels, title, log_x, log_y, menu=None) -> go.Figure:
    """Axes and layout that both figures of lines share."""
    across = _layout.x_axis(frame.label(x, labels), frame.points(df[x].dropna()), log_x)
    upright = _layout.y_axis(frame.label(y, labels), frame.numbers(df[y]), log_y)
    axes = {"xaxis": across, "yaxis": upright}
    if menu:  # the same axes for every choice
        axes["xaxis"] |= _menu.extent(fig, "x", log_x, frame.levels(df[x]))
        axes["yaxis"] |= _menu.extent(fig, "y", log_y)
    if len(parts) == 2:
        axes = {
            "xaxis": across | {"domain": [0, 0.48], "anchor": "y"},
            "yaxis": upright | {"anchor": "x"},
            "xaxis2": across | {"domain": [0.52, 1], "anchor": "y2", "matches": "x"},
            "yaxis2": {"anchor": "x2", "matches": "y", "showticklabels": False}
            | {key: value for key, value in upright.items() if key != "title"},
        }
    return _layout.finish(
        fig,
        title,
        legend=legend,
        facets=[name for name, _ in parts] if parts[0][0] else (),
        menu=menu,
        **axes,
    )
