"""Figures that compare designs: `pareto` (trade-off with its front) and `bars`."""

import math
from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from qbench.plots import _frame as frame
from qbench.plots import _layout, lines, theme


def pareto(
    df: pd.DataFrame,
    x: str,
    y: str,
    colour: str | None = None,
    *,
    front: str | bool = True,
    spread_x: tuple[str, str] | None = None,
    spread_y: tuple[str, str] | None = None,
    better: tuple[str, str] = ("lower", "higher"),
    name: str | None = None,
    labels: Mapping[str, str] | None = None,
    title: str = "",
    log_x: bool = False,
    log_y: bool = False,
) -> go.Figure:
    """Designs as points and the front of those that no other design beats in both x and y.

    df: one row a design, numeric x and y; rows without one of them are left out.
    front: True finds the front, a boolean column gives it, False draws none.
    spread_x, spread_y: the columns with the low and high end of an interval around x, around y:
        error bars.
    better: for x and for y, "lower" or "higher".
    name: a column that names the design in its hover box.
    Raises ValueError for an unknown or non-numeric column, an empty frame, a front column that is
    not boolean, or a direction that is neither "lower" nor "higher".
    """
    given = front if isinstance(front, str) else None
    low, high = spread_x or (None, None)
    below, above = spread_y or (None, None)
    named = {"x": x, "y": y, "colour": colour, "front": given, "name": name}
    numeric = ("x", "y", "low", "high", "below", "above")
    frame.check("pareto", df, numeric, **named, low=low, high=high, below=below, above=above)
    for direction in better:
        if direction not in ("lower", "higher"):
            raise ValueError(f"pareto: better is 'lower' or 'higher', not {direction!r}.")
    if given and not pd.api.types.is_bool_dtype(df[given]):
        raise ValueError(
            f"pareto needs true or false in column {given!r} for front, not {df[given].dtype}."
        )
    for column, log in ((x, log_x), (y, log_y)):
        if log:
            lines.check_log("pareto", df, column)
    order = frame.levels(df[colour]) if colour else None
    df = df[[v is not None and w is not None for v, w in _pairs(df, x, y)]]
    if df.empty:
        raise ValueError(f"pareto finds no row with a number in both {x!r} and {y!r}.")
    fig = go.Figure()
    if front is not False:
        best = df[df[given]] if given else df[non_dominated(df, x, y, better)]
        best = best.sort_values([x, y], kind="stable")
        # Between two designs of the front the line takes the corner that is reached for certain:
        # it never promises a design that nobody built.
        fig.add_scatter(
            x=frame.numbers(best[x]),
            y=frame.numbers(best[y]),
            mode="lines",
            name="Pareto front",
            line={
                "color": theme.NEUTRAL,
                "width": 2,
                "shape": "hv" if better[0] == "lower" else "vh",
            },
            hoverinfo="skip",
        )
    for line in frame.series("pareto", df, colour, order):
        if line.rows.empty:
            continue
        box = lines.hover_box(df, labels, line.name, x=x, y=y)
        fig.add_scatter(
            x=frame.numbers(line.rows[x]),
            y=frame.numbers(line.rows[y]),
            error_x=lines.error_bars(line.rows[x], line.rows[low], line.rows[high])
            if low
            else None,
            error_y=lines.error_bars(line.rows[y], line.rows[below], line.rows[above])
            if below
            else None,
            mode="markers",
            name=line.name,
            text=[frame.word(v) for v in line.rows[name]] if name else None,
            marker={"color": line.colour, "symbol": line.symbol, "size": 9},
            hovertemplate="<b>%{text}</b><br>" + box if name else box,
            showlegend=bool(line.name),
        )
    return _layout.finish(
        fig,
        title,
        legend=frame.label(colour, labels) if colour else "",
        xaxis=_layout.x_axis(frame.label(x, labels), frame.numbers(df[x]), log_x),
        yaxis=_layout.y_axis(frame.label(y, labels), frame.numbers(df[y]), log_y),
    )


def non_dominated(
    df: pd.DataFrame, x: str, y: str, better: tuple[str, str] = ("lower", "higher")
) -> list[bool]:
    """For each row, whether no other row is at least as good in x and y and better in one.

    Rows without a number in x or y are never on the front; equal rows stand or fall together.
    """
    signs = [1 if direction == "lower" else -1 for direction in better]
    costs = [
        None if v is None or w is None else (signs[0] * v, signs[1] * w)
        for v, w in _pairs(df, x, y)
    ]
    keep, best = set(), float("inf")
    for cost in sorted({c for c in costs if c is not None}):
        if cost[1] < best:
            keep.add(cost)
            best = cost[1]
    return [cost in keep for cost in costs]


def bars(
    df: pd.DataFrame,
    x: str,
    y: str,
    colour: str | None = None,
    *,
    spread: lines.Spread | None = None,
    reference: Mapping[str, float] | None = None,
    labels: Mapping[str, str] | None = None,
    title: str = "",
    log_y: bool = False,
    horizontal: bool = False,
) -> go.Figure:
    """Bars in groups: one group for each x, one bar in it for each value of `colour`.

    A name with one bar only, where that is so of all, has it in its middle, whatever its colour.
    horizontal: the groups from top to bottom, with room for names of many or long categories on a
        phone; x, y, `log_y` and `labels` keep their meaning.

    df: one row a bar, x a category (whole numbers are taken as categories), y a number in the
    unit that `labels` gives; a missing y leaves its place empty, a row without x is left out.
    spread: half-width of an interval, or its two ends, in the unit of y: drawn as error bars.
    reference: name -> y, published values as horizontal lines.
    Raises ValueError for an unknown or non-numeric column, an empty frame, several rows for one
    bar, or no positive number on a log scale.
    """
    low, high = spread if isinstance(spread, tuple) else (spread, None)
    frame.check("bars", df, ("y", "spread", "high"), x=x, y=y, colour=colour, spread=low, high=high)
    if log_y:
        lines.check_log("bars", df, y)
    df = df.dropna(subset=[x])
    if df.duplicated([x, colour] if colour else [x]).any():
        raise ValueError(
            f"bars needs one row for each bar, and {x!r}"
            + (f" with {colour!r}" if colour else "")
            + " repeats; aggregate first."
        )
    names = [frame.word(v) for v in frame.levels(df[x])]
    alone = not df.duplicated([x]).any()  # one bar a name, which stands in the middle
    shown = {name: _layout.wrap(name, 18 if horizontal else 12) for name in names}
    # The letters of plotly's axes for the categories and for the values.
    at, to = ("y", "x") if horizontal else ("x", "y")
    fig = go.Figure()
    for line in frame.series("bars", df, colour):
        rows = line.rows
        errors = None
        if low is not None:
            down = rows[y] - rows[low] if high is None else rows[low]
            up = rows[y] + rows[low] if high is None else rows[high]
            errors = lines.error_bars(rows[y], down, up) | {"color": theme.INK}
        fig.add_bar(
            orientation="h" if horizontal else "v",
            name=line.name,
            showlegend=bool(line.name),
            offsetgroup=None if alone else line.name,
            marker={"color": line.colour},
            hovertemplate=lines.hover_box(
                df.assign(**{x: ""}), labels, line.name, **{at: x, to: y}
            ),
            **{
                at: [shown[frame.word(v)] for v in rows[x]],
                to: frame.numbers(rows[y]),
                f"error_{to}": errors,
            },
        )
    ends = [shown[names[0]], shown[names[-1]]]
    for index, (what, height) in enumerate((reference or {}).items()):
        lines.level(fig, what, float(height), ends, index, {}, upright=horizontal)
    values_axis = _layout.y_axis(frame.label(y, labels), frame.numbers(df[y]), log_y)
    if log_y:  # a bar starts at a power of ten below the smallest, not at plotly's own choice
        values = [v for v in [*frame.finite(df[y]), *(reference or {}).values()] if v > 0]
        floor = math.ceil(math.log10(min(values)) - 0.15) - 1
        values_axis["range"] = [floor, math.log10(max(values)) + 0.12]
    names_axis = _layout.x_axis(frame.label(x, labels)) | {
        "type": "category",
        "categoryorder": "array",
        "categoryarray": list(shown.values()),
    }
    if horizontal:
        names_axis["autorange"] = "reversed"
    room = 48 + 15 * max(_layout.lines(text) for text in shown.values())
    return _layout.finish(
        fig,
        title,
        legend=frame.label(colour, labels) if colour else "",
        height=max(340, 44 * len(shown)) if horizontal else 340,
        below=54 if horizontal else room,
        barmode="overlay" if alone else "group",
        bargap=0.25,
        bargroupgap=0.06,
        **{f"{at}axis": names_axis, f"{to}axis": values_axis},
    )


def _pairs(df: pd.DataFrame, x: str, y: str) -> zip:
    return zip(frame.numbers(df[x]), frame.numbers(df[y]), strict=True)
