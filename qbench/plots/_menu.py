"""A menu above a figure: the values of one column, of which the figure shows one at a time.

A trace that belongs to one choice says so in its `meta`: the number of the choice, and which line
it is, the same in all choices. In the book, `qbench.js` reads this and `layout.meta.menu` and
draws a <select>; elsewhere plotly's own menu switches the traces.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

from qbench.plots import _frame as frame
from qbench.plots import theme

#: px above the plot that plotly's own menu takes.
ROOM = 44
_MARGIN = 0.05  # of the values' span, on either side of it


@dataclass(frozen=True)
class Menu:
    """What the menu is called, its entries, and the number of the one that is shown at first.

    `settings` are for each entry what it sets of the layout: dotted path -> value.
    """

    label: str
    names: tuple[str, ...]
    first: int
    settings: tuple[dict[str, object], ...] = ()

    def said(self, choice: int | None = None) -> str:
        """A choice (by default the first one shown) in words: "Activation bits: 4"."""
        return f"{self.label}: {self.names[self.first if choice is None else choice]}"


def menu(what: str, df: pd.DataFrame, column: str, first: object, label: str) -> Menu:
    """The menu over the values of a column in their order; ValueError if `first` is none of them.

    Without `first` it is the middle one of numbers (of an even count the lower), else the first.
    """
    values = frame.levels(df[column])
    if not values:
        raise ValueError(f"{what} finds no value in column {column!r} for menu.")
    names = tuple(frame.word(v) for v in values)
    if first is None:
        place = (len(values) - 1) // 2 if frame.is_number(df[column]) else 0
    elif first in values:
        place = values.index(first)
    else:
        raise ValueError(
            f"{what} has no {first!r} in column {column!r} to show first; it has "
            f"{', '.join(names)}."
        )
    return Menu(label, names, place)


def of(fig: go.Figure) -> Menu | None:
    """The menu of a finished figure; None if it has none."""
    found = (fig.layout.meta or {}).get("menu")
    if not found:
        return None
    settings = tuple(found.get("settings", ()))
    return Menu(found["label"], tuple(found["names"]), found["first"], settings)


def assign(traces: Iterable, choice: int, line: object, shown: bool) -> None:
    """Say of the traces of one line which choice they belong to."""
    for place, trace in enumerate(traces):
        trace.update(meta={"choice": choice, "line": f"{line}-{place}"}, visible=shown)


def choice(trace: object) -> int | None:
    """The number of the choice that the trace belongs to; None if it is always shown."""
    return trace.meta.get("choice") if isinstance(trace.meta, dict) else None


def buttons(fig: go.Figure, chosen: Menu) -> list[dict]:
    """plotly's own menu, for places without `qbench.js`: layout.updatemenus."""
    owners = {i: choice(t) for i, t in enumerate(fig.data) if choice(t) is not None}
    return [
        {
            "type": "dropdown",
            "active": chosen.first,
            "showactive": True,
            "x": 0,
            "xanchor": "left",
            "y": 1,
            "yanchor": "bottom",
            "pad": {"b": 8},
            "bgcolor": theme.SURFACE,
            "bordercolor": theme.AXIS,
            "buttons": [
                {
                    "label": chosen.said(number),
                    "method": "update" if chosen.settings else "restyle",
                    "args": [
                        {"visible": [o == number for o in owners.values()]},
                        *chosen.settings[number : number + 1],
                        list(owners),
                    ],
                }
                for number in range(len(chosen.names))
            ],
        }
    ]


def extent(fig: go.Figure, letter: str, log: bool, levels: Iterable = ()) -> dict:
    """Settings of the axis that hold all traces of all choices, or all names in `levels`.

    On a log scale a range is in powers of ten, as plotly has it.
    """
    values: list = []
    for trace in fig.data:
        values += [v for v in trace[letter] or () if v is not None]
        bars = trace[f"error_{letter}"]
        if bars.array is not None:
            for ends, sign in ((bars.array, 1), (bars.arrayminus, -1)):
                pairs = zip(trace[letter], ends, strict=True)
                values += [v + sign * end for v, end in pairs if v is not None]
    if any(isinstance(v, str) for v in values):
        names = [frame.word(v) for v in levels]
        order = {"categoryorder": "array", "categoryarray": names}
        return order | {"range": [-0.5, len(names) - 0.5]}
    if log:
        values = [math.log10(v) for v in values if v > 0]
    low, high = min(values), max(values)
    room = _MARGIN * (high - low) or 0.5
    return {"range": [low - room, high + room]}
