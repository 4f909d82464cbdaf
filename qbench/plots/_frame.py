"""Reading a tidy DataFrame: checks, series, names with units, number formats."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from qbench.plots import theme


@dataclass(frozen=True)
class Series:
    """The rows of one series and how it is drawn."""

    name: str
    rows: pd.DataFrame
    colour: str
    symbol: str
    dash: str


def check(what: str, df: pd.DataFrame, numeric: Iterable[str] = (), **columns: str | None) -> None:
    """Refuse, in one sentence, a frame that the plot `what` cannot draw.

    `columns` gives the column of each role (None: role not used); the roles in `numeric` must hold
    at least one finite number.
    """
    if not isinstance(df, pd.DataFrame):
        raise ValueError(f"{what} draws a pandas DataFrame, not a {type(df).__name__}.")
    for role, column in columns.items():
        if column is not None and column not in df.columns:
            have = ", ".join(repr(c) for c in df.columns) or "no column"
            raise ValueError(f"{what} finds no column {column!r} for {role}; the frame has {have}.")
    if df.empty:
        raise ValueError(f"{what} needs at least one row, and the frame is empty.")
    for role in numeric:
        column = columns[role]
        if column is None:
            continue
        if not is_number(df[column]):
            raise ValueError(
                f"{what} needs numbers for {role}, and column {column!r} holds {df[column].dtype}."
            )
        if not any(math.isfinite(v) for v in df[column].dropna()):
            raise ValueError(f"{what} finds no finite number in column {column!r} for {role}.")


def is_number(values: pd.Series) -> bool:
    """Whether the column holds numbers (booleans are categories)."""
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def is_whole(values: pd.Series) -> bool:
    """Whether every finite number of the column is whole."""
    return is_number(values) and all(v == math.floor(v) for v in finite(values))


def finite(values: pd.Series) -> list[float]:
    """The finite numbers of a column, in order."""
    return [float(v) for v in values.dropna() if math.isfinite(v)]


def numbers(values: Iterable) -> list[float | int | None]:
    """A column as plain Python numbers, with None where there is none (a gap in plotly)."""
    plain = values.tolist() if hasattr(values, "tolist") else list(values)
    return [v if _is_given(v) and math.isfinite(v) else None for v in plain]


def points(values: pd.Series) -> list:
    """A column as plotly takes it: numbers as they are, anything else as names of categories."""
    return numbers(values) if is_number(values) else [word(v) for v in values.tolist()]


def levels(values: pd.Series) -> list:
    """The distinct values in their order: a Categorical's own, numbers ascending, or as met."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        present = set(values.dropna())
        return [v for v in values.cat.categories if v in present]
    found = list(values.dropna().unique())
    return sorted(found) if is_number(values) else found


def word(value: object) -> str:
    """One value as a name: `2` for 2.0, `n/a` for a missing one."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if not _is_given(value):
        return "n/a"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _is_given(value: object) -> bool:
    return value is not None and value is not pd.NA and value == value


def series(
    what: str,
    df: pd.DataFrame,
    colour: str | None,
    order: list | None = None,
    name: str | None = None,
    part: Mapping[str, object] | None = None,
) -> list:
    """The frame as a list of `Series`, one for each value of `colour` (rows without one: `n/a`).

    `order` fixes the values, and so the colours, when several parts of one frame are drawn; `name`
    is a template as in `named`, by default the value alone, and may also use the columns of `part`
    (a column and its value in this part of the frame).
    """
    also = dict(part or {})
    if colour is None:
        return [Series(named(what, name, also) if name and also else "", df, *theme.style(0))]
    values = levels(df[colour]) if order is None else order
    if len(values) + 1 > theme.MAX_SERIES:
        raise ValueError(
            f"{what} tells at most {theme.MAX_SERIES - 1} series apart, and column {colour!r} has "
            f"{len(values)} values; aggregate or select some."
        )
    found = [
        Series(
            word(v) if name is None else named(what, name, {colour: v} | also),
            df[df[colour] == v],
            *theme.style(i),
        )
        for i, v in enumerate(values)
    ]
    if df[colour].isna().any():
        found.append(Series("n/a", df[df[colour].isna()], *theme.style(len(values))))
    return found


def crossed(what: str, df: pd.DataFrame, colour: str, dash: str, name: str | None = None) -> list:
    """The frame as a list of `Series`, one for each pair of values.

    `colour` sets the colour, `dash` the dash and the marker; `name` is a template as in `named`,
    by default the two values with a comma between them.
    """
    template = f"{{{colour}}}, {{{dash}}}" if name is None else name
    hues, dashes = levels(df[colour]), levels(df[dash])
    for column, found, most in ((colour, hues, len(theme.PALETTE)), (dash, dashes, 4)):
        if len(found) > most:
            raise ValueError(
                f"{what} tells at most {most} values of {column!r} apart, and it has {len(found)}; "
                "aggregate or select some."
            )
    return [
        Series(
            named(what, template, {colour: hue, dash: way}),
            df[(df[colour] == hue) & (df[dash] == way)],
            theme.PALETTE[i],
            theme.SYMBOLS[j],
            theme.CROSSED_DASHES[j],
        )
        for i, hue in enumerate(hues)
        for j, way in enumerate(dashes)
    ]


def named(what: str, template: str, values: Mapping[str, object]) -> str:
    """The template with each column in braces replaced by its value: "W{bits}" -> "W2"."""
    words = {column: word(value) for column, value in values.items()}
    try:
        return template.format_map(words)
    except (KeyError, IndexError, ValueError, AttributeError, TypeError):
        have = " and ".join(f"{{{column}}}" for column in words)
        raise ValueError(
            f"{what} fills in {have} in a name, which does not fit {template!r}."
        ) from None


def facets(what: str, df: pd.DataFrame, facet: str | None) -> list[tuple[str, pd.DataFrame]]:
    """Name and rows of each facet: at most two, since they stand side by side."""
    if facet is None:
        return [("", df)]
    values = levels(df[facet])
    if not 1 <= len(values) <= 2:
        raise ValueError(
            f"{what} sets at most 2 facets side by side, and column {facet!r} has {len(values)} "
            "values; select one or two."
        )
    return parts(df, facet)


def parts(df: pd.DataFrame, column: str) -> list[tuple[str, pd.DataFrame]]:
    """Name and rows of each value of the column, in their order."""
    return [(word(v), df[df[column] == v]) for v in levels(df[column])]


def label(column: str, labels: Mapping[str, str] | None) -> str:
    """What a reader calls the column: its entry in `labels`, else its name with spaces."""
    if labels and column in labels:
        return labels[column]
    text = str(column).replace("_", " ")
    return text[:1].upper() + text[1:]


def hover(text: str, variable: str, values: pd.Series) -> str:
    """One line of a hover box: name, number, unit, e.g. `Latency: %{y} ms` for "Latency (ms)"."""
    found = re.fullmatch(r"(.*\S)\s+\(([^()]+)\)", text)
    name, unit = found.groups() if found else (text, "")
    form = ""
    if is_number(values):
        form = ":,d" if is_whole(values) else ":,.4~r"
    return f"{name}: %{{{variable}{form}}}" + (f" {unit}" if unit else "")


def decimals(values: Iterable[float], digits: int = 4) -> int:
    """Decimal places that show `digits` digits of the largest number (0 if all are whole)."""
    given = list(values)
    if all(v == math.floor(v) for v in given):
        return 0
    largest = max(abs(v) for v in given)
    return max(0, min(digits - 1 - math.floor(math.log10(largest)), 8))
