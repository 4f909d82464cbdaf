"""Tables for a page: numbers aligned, verdicts coloured and worded, scrollable on a phone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape

import pandas as pd

from qbench.numbers import with_minus
from qbench.plots import _frame as frame
from qbench.plots.bundle import simple

VERDICTS = ("exact", "matches", "trend", "differs", "erratum", "needs hardware")
Format = str | Callable[[object], str]


@dataclass(frozen=True)
class Table:
    """A table that a notebook shows as HTML and a terminal as text."""

    html: str
    text: str

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return self.text


def table(df: pd.DataFrame, *, caption: str, formats: Mapping[str, Format] | None = None) -> Table:
    """The frame as an accessible table, without its index; the first column names the rows.

    caption: said above the table; the same few tags as in a figure's caption.
    formats: column -> format specification (".2f", ",d"), template ("{:.1f} %") or function.
        Without one, whole numbers get thousands separators and other numbers the decimals that
        show four digits of the largest; a missing value is a dash.
    A column named `verdict` must hold exact, matches, trend, differs, erratum or needs hardware,
    or one of these, a colon and a remark. Raises ValueError for another verdict, an unknown column
    in `formats`, or an empty frame.
    """
    frame.check("table", df)
    formats = dict(formats or {})
    for column in formats:
        if column not in df.columns:
            have = ", ".join(repr(c) for c in df.columns)
            raise ValueError(f"table has no column {column!r} to format; the frame has {have}.")
    texts = pd.DataFrame(
        {
            place: [_write(v, _format(df.iloc[:, place], formats.get(name))) for v in values]
            for place, (name, values) in enumerate(df.items())
        }
    )
    numeric = [frame.is_number(values) for _, values in df.items()]
    heads = "".join(_cell("th", escape(str(c)), n, "col") for c, n in zip(df, numeric, strict=True))
    rows = []
    for row in texts.itertuples(index=False):
        cells = []
        for place, (column, text) in enumerate(zip(df.columns, row, strict=True)):
            inner = _verdict(text) if str(column).lower() == "verdict" else escape(text)
            inner = inner.replace("-", "−") if numeric[place] else with_minus(inner)
            cells.append(
                _cell("th" if place == 0 else "td", inner, numeric[place], "row" * (place == 0))
            )
        rows.append(f"<tr>{''.join(cells)}</tr>\n")
    page = (
        f'<div class="qb-table" role="region" aria-label="{escape(caption)}" tabindex="0">\n'
        f"<table>\n<caption>{simple(caption)}</caption>\n"
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{''.join(rows)}</tbody>\n</table>\n</div>"
    )
    texts.columns = [str(c) for c in df.columns]
    return Table(page, f"{caption}\n{texts.to_string(index=False)}")


def _cell(tag: str, inner: str, numeric: bool, scope: str) -> str:
    of = (' class="qb-number"' if numeric else "") + (f' scope="{scope}"' if scope else "")
    return f"<{tag}{of}>{inner}</{tag}>"


def _verdict(text: str) -> str:
    """A verdict in its colour, with its word and any remark after a colon."""
    if text == "–":
        return text
    word, colon, remark = text.partition(":")
    if word.strip() not in VERDICTS:
        raise ValueError(f"{word.strip()!r} is no verdict; allowed are {', '.join(VERDICTS)}.")
    kind = word.strip().replace(" ", "-")
    return f'<span class="qb-verdict qb-{kind}">{escape(word.strip())}</span>' + (
        f" {escape(remark.strip())}" if colon else ""
    )


def _format(values: pd.Series, given: Format | None) -> Format:
    if given is not None:
        return given
    if not frame.is_number(values):
        return frame.word
    numbers = [v for v in frame.finite(values) if v]
    places = frame.decimals(numbers) if numbers else 0
    # Numbers too small or too unlike for one count of decimals are written with three digits each.
    unlike = places > 5 or any(abs(v) < 10**-places for v in numbers)
    return ".3g" if unlike else f",.{places}f"


def _write(value: object, form: Format) -> str:
    if frame.word(value) == "n/a":
        return "–"
    if callable(form):
        return form(value)
    return form.format(value) if "{" in form else format(value, form)
