"""Figures of a value over two parameters, or over several criteria: heat map, surface, radar."""

import math
from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go
from plotly.colors import get_colorscale

from qbench.numbers import with_minus
from qbench.plots import _frame as frame
from qbench.plots import _layout, lines, theme

_INSET = 0.44  # of a cell's width and height: from its middle to the frame of a mark


def heat_map(
    df: pd.DataFrame,
    x: str,
    y: str,
    value: str,
    *,
    labels: Mapping[str, str] | None = None,
    title: str = "",
    decimals: int | None = None,
    limits: tuple[float, float] | None = None,
    scale: str = theme.SEQUENTIAL,
    centre: float | None = None,
    mark: str | None = None,
    mark_name: str = "marked",
) -> go.Figure:
    """A coloured cell for each pair of x and y, with its number in it; y grows upwards.

    df: one row a cell; x and y are categories (e.g. weight_bits, act_bits), value a number in the
    unit that `labels` gives. A missing cell stays empty.
    decimals: decimal places of the printed numbers; limits: values at the ends of the colours.
    scale: a sequential plotly scale, "Cividis" or "Viridis".
    centre: what values are above or below, such as 0 for differences: colours then diverge from it,
        as far to either side. Where `limits` leave values out, the colour bar says so.
    mark: a boolean column; the cells where it is true have a frame around their number, which the
        legend and the hover box call `mark_name`. A missing cell has none.
    Raises ValueError for an unknown or non-numeric column, an empty frame, two rows for a cell, or
    a mark column that is not boolean.
    """
    frame.check("heat_map", df, mark=mark)
    if mark and not pd.api.types.is_bool_dtype(df[mark]):
        raise ValueError(
            f"heat_map needs true or false in column {mark!r} for mark, not {df[mark].dtype}."
        )
    table = _grid("heat_map", df, x, y, value)
    across, up = ([frame.word(v) for v in axis] for axis in (table.columns, table.index))
    cells = [frame.numbers(row) for row in table.to_numpy()]
    given = [v for row in cells for v in row if v is not None]
    low, high = limits or (min(given), max(given))
    if centre is not None:
        reach = max(abs(low - centre), abs(high - centre))
        low, high, scale = centre - reach, centre + reach, theme.DIVERGING
    if low == high:
        low, high = low - 0.5, high + 0.5
    places = frame.decimals(given, 3) if decimals is None else decimals
    texts = [[None if v is None else with_minus(f"{v:z,.{places}f}") for v in row] for row in cells]
    # All cells take 290 px on a phone, 600 elsewhere, within frames less; a digit 0.64 of the size.
    longest = max(len(text) for row in texts for text in row if text)
    narrow, size = (
        max(8, min(12, int(width * (0.9 if mark else 1) / len(across) / 0.64 / longest)))
        for width in (290, 600)
    )
    colours = get_colorscale(scale)
    name = frame.label(value, labels)
    ends = [
        f"{end:,.4g}" for end, out in ((low, min(given) < low), (high, max(given) > high)) if out
    ]
    bar = f"{name}; colours end at {' and '.join(ends)}" if ends else name
    fig = go.Figure(
        go.Heatmap(
            x=across,
            y=up,
            z=cells,
            zmin=low,
            zmax=high,
            colorscale=colours,
            xgap=1,
            ygap=1,
            hovertemplate="<br>".join(
                (
                    frame.hover(frame.label(x, labels), "x", pd.Series([""])),
                    frame.hover(frame.label(y, labels), "y", pd.Series([""])),
                    frame.hover(name, "z", df[value]),
                )
            )
            + ("%{text}" if mark else "")
            + "<extra></extra>",
            colorbar={
                "orientation": "h",
                "title": {"text": _layout.wrap(bar, 44), "side": "bottom", "font": {"size": 13}},
                "thickness": 10,
                "len": 1,
                "x": 0.5,
                "y": 0,
                "yref": "container",
                "yanchor": "bottom",
                "ypad": 4,
                "outlinewidth": 0,
            },
        )
    )
    printed = [
        (a, b, texts[j][i], cells[j][i])
        for j, b in enumerate(up)
        for i, a in enumerate(across)
        if texts[j][i]
    ]
    inks = [theme.text_on(_shade(colours, v, low, high)) for *_, v in printed]
    fig.add_scatter(
        x=[a for a, _, _, _ in printed],
        y=[b for _, b, _, _ in printed],
        text=[text for _, _, text, _ in printed],
        mode="text",
        textfont={"color": inks, "size": size},
        meta={"narrow_size": narrow},  # see qbench.js
        hoverinfo="skip",
        showlegend=False,
    )
    key = 0
    if mark:
        rows = df[df[mark]]
        chosen = {(frame.word(a), frame.word(b)) for a, b in zip(rows[x], rows[y], strict=True)}
        marked = {(a, b): ink for (a, b, *_), ink in zip(printed, inks, strict=True)}
        marked = {cell: ink for cell, ink in marked.items() if cell in chosen}
        key = _mark(fig, across, up, marked, _layout.wrap(mark_name, 42))
    category = {"type": "category", "categoryorder": "array", "showgrid": False, "ticks": ""}
    _layout.finish(
        fig,
        title,
        height=max(180, min(46 * len(up), 460)),
        below=118 + key,
        toolbar=20,  # else it lies over the last cell
        xaxis=_layout.x_axis(frame.label(x, labels)) | category | {"categoryarray": across},
        yaxis=_layout.y_axis(frame.label(y, labels)) | category | {"categoryarray": up},
    )
    if key:  # below the colour bar, and nothing to switch off
        fig.data[0].colorbar.y = key / fig.layout.height
        fig.update_layout(showlegend=True)
        fig.update_layout(legend={"itemclick": False, "itemdoubleclick": False})
    return fig


def _mark(fig: go.Figure, across: list, up: list, marked: dict, name: str) -> int:
    """Frame the cells of `marked` (x and y -> ink), say so in hover boxes and in a legend.

    Returns the room in px that the legend takes.
    """
    if not marked:
        fig.data[0].text = [[""] * len(across)] * len(up)
        return 0
    for (a, b), ink in marked.items():
        i, j = across.index(a), up.index(b)
        edge = {"color": theme.fade(ink, 1), "width": 2}  # as rgba: a theme replaces #ffffff
        box = {"x0": i - _INSET, "x1": i + _INSET, "y0": j - _INSET, "y1": j + _INSET}
        fig.add_shape(type="rect", xref="x", yref="y", line=edge, **box)
    said = f"<br><b>{name}</b>"
    fig.data[0].text = [[said if (a, b) in marked else "" for a in across] for b in up]
    fig.add_scatter(
        x=[None],
        y=[None],
        mode="markers",
        name=name,
        showlegend=True,
        hoverinfo="skip",
        marker={"color": theme.INK, "symbol": "square-open", "size": 13, "line": {"width": 2}},
    )
    return 12 + 20 * _layout.lines(name)


def surface(
    df: pd.DataFrame,
    x: str,
    y: str,
    z: str,
    *,
    plane: float | None = None,
    plane_name: str = "reference",
    labels: Mapping[str, str] | None = None,
    title: str = "",
    scale: str = "Viridis",
    eye: tuple[float, float, float] = (-1.3, -1.3, 0.75),
    log_y: bool = False,
) -> go.Figure:
    """z as a surface over x and y, to be turned; `plane` is a level to compare it with.

    df: one row a grid point, numeric x, y and z, z and `plane` in one unit; missing points are
    holes. `eye` is where the camera stands, in widths of the box. `log_y` spaces y by its logarithm
    and has a tick at each value. Raises ValueError for an unknown or non-numeric column, an empty
    frame, two rows for a point, fewer than two values of x or y, or a y of 0 or less with `log_y`.
    """
    frame.check("surface", df, ("x", "y", "z"), x=x, y=y, z=z)
    table = _grid("surface", df, x, y, z)
    if min(table.shape) < 2:
        raise ValueError(
            f"surface needs at least two values of each of {x!r} and {y!r}, not "
            f"{table.shape[1]} and {table.shape[0]}."
        )
    across, up = frame.numbers(table.columns), frame.numbers(table.index)
    hover = lines.hover_box(df, labels, "", x=x, y=y, z=z)
    if log_y:
        if min(up) <= 0:
            raise ValueError(f"surface needs numbers above 0 in {y!r} for its logarithm.")
        ticks, up = up, [math.log2(value) for value in up]
        hover = hover.replace("%{y", "%{customdata")
    roles = {"x": x, "y": y, "z": z}
    names = {role: frame.label(column, labels) for role, column in roles.items()}
    fig = go.Figure(
        go.Surface(
            x=across,
            y=up,
            z=[frame.numbers(row) for row in table.to_numpy()],
            colorscale=get_colorscale(scale),
            showscale=False,
            name=names["z"],
            customdata=[[value] * len(across) for value in ticks] if log_y else None,
            hovertemplate=hover,
        )
    )
    if plane is not None:
        fig.add_surface(
            x=[across[0], across[-1]],
            y=[up[0], up[-1]],
            z=[[plane, plane], [plane, plane]],
            colorscale=[[0, theme.NEUTRAL], [1, theme.NEUTRAL]],
            opacity=0.45,
            showscale=False,
            showlegend=True,
            name=plane_name,
            hovertemplate=f"{plane_name}: %{{z:,.4~r}}<extra></extra>",
        )
    axes = {}
    for role, column in roles.items():
        axis = _layout.x_axis(names[role], frame.numbers(df[column]))
        axes[f"{role}axis"] = axis | {"title": {"text": _layout.wrap(names[role], 28)}}
    axes["zaxis"].pop("dtick", None)
    if log_y:
        axes["yaxis"] = {"title": axes["yaxis"]["title"], "tickvals": up}
        axes["yaxis"]["ticktext"] = [frame.word(value) for value in ticks]
    fig.update_layout(scene=axes)
    _layout.finish(
        fig,
        title,
        legend="" if plane is None else " ",
        height=390,
        below=8,
        narrow={"scene.camera.eye": dict(zip("xyz", (1.55 * v for v in eye), strict=True))},
        narrow_height=330,
        scene_camera={"eye": dict(zip("xyz", eye, strict=True)), "center": {"z": -0.08}},
        scene_aspectmode="manual",
        scene_aspectratio={"x": 1, "y": 1, "z": 0.75},
    )
    return fig.update_layout(margin={"l": 0, "r": 0})


def radar(
    df: pd.DataFrame,
    theta: str,
    r: str,
    colour: str | None = None,
    *,
    labels: Mapping[str, str] | None = None,
    title: str = "",
    limits: tuple[float, float] | None = None,
) -> go.Figure:
    """One closed outline for each value of `colour` over the criteria in `theta`.

    df: one row for each criterion and series; r a number, larger further out, all criteria on one
    scale (normalise first). A missing r leaves a gap. limits: r at the centre and at the rim.
    Raises ValueError for an unknown or non-numeric column, an empty frame, or fewer than three
    criteria.
    """
    frame.check("radar", df, ("r",), theta=theta, r=r, colour=colour)
    spokes = frame.levels(df[theta])
    if len(spokes) < 3:
        raise ValueError(f"radar needs at least 3 criteria in {theta!r}, not {len(spokes)}.")
    shown = [_layout.wrap(frame.word(v), 13) for v in spokes]
    fig = go.Figure()
    for line in frame.series("radar", df, colour):
        found = dict(zip(line.rows[theta], frame.numbers(line.rows[r]), strict=True))
        radii = [found.get(v) for v in spokes]
        fig.add_scatterpolar(
            theta=[*shown, shown[0]],
            r=[*radii, radii[0]],
            mode="lines+markers",
            name=line.name,
            showlegend=bool(line.name),
            fill="toself" if None not in radii else "none",
            fillcolor=theme.fade(line.colour, 0.1),
            line={"color": line.colour, "dash": line.dash, "width": 2},
            marker={"color": line.colour, "symbol": line.symbol, "size": 8},
            hovertemplate=lines.hover_box(df, labels, line.name, theta=theta, r=r),
        )
    fig.update_layout(
        polar={
            "angularaxis": {"rotation": 90, "direction": "clockwise", "type": "category"},
            "radialaxis": {"angle": 90, "tickangle": 90, "nticks": 5}
            | {"range": list(limits or (min(0, *frame.finite(df[r])), max(frame.finite(df[r]))))},
        }
    )
    side = 24 + 7 * max(_layout.widest(text) for text in shown)
    _layout.finish(
        fig,
        title,
        legend=frame.label(colour, labels) if colour else "",
        height=360,
        below=44,
        narrow={"margin.l": min(side, 90), "margin.r": min(side, 90)},
        narrow_height=240,
    )
    above = 10 + 17 * max(_layout.lines(text) for text in shown)  # plotly leaves no room for it
    fig.layout.meta["narrow"]["height"] += above
    margin = {"l": side, "r": side, "t": fig.layout.margin.t + above}
    return fig.update_layout(margin=margin, height=fig.layout.height + above)


def _grid(what: str, df: pd.DataFrame, x: str, y: str, value: str) -> pd.DataFrame:
    """The frame as a table: rows y, columns x, both in their order; missing cells are NaN."""
    frame.check(what, df, ("value",), x=x, y=y, value=value)
    df = df.dropna(subset=[x, y])
    if df.duplicated([x, y]).any():
        raise ValueError(
            f"{what} needs one row for each pair of {x!r} and {y!r}, and some repeat; "
            "aggregate first."
        )
    table = df.pivot(index=y, columns=x, values=value)
    return table.reindex(index=frame.levels(df[y]), columns=frame.levels(df[x]))


def _shade(colours: list, value: float, low: float, high: float) -> str:
    """The colour of a cell, as the renderer will paint it."""
    return theme.colour_at(colours, min(max((value - low) / (high - low), 0), 1))
