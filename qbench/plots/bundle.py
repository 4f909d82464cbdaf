"""Putting a figure on a page: the interactive form, the static one, a caption and a description.

In the book (environment variable `QBENCH_BOOK=1`, which whoever executes the chapters for the book
sets) `show` displays one `text/html` bundle, the same bytes for the same figure. It holds the
figure as JSON, which `book/_static/qbench.js` draws with the `plotly.min.js` that the book carries
(`plotly_js()`), and the static form as inline SVG in `<details open>`. The script closes that once
it takes over; without JavaScript, and in print, the static form is what a reader sees. A menu is a
<select> above the figure; the static form has the choice that is shown at first.
Elsewhere (JupyterLab, VS Code, Colab) there is neither script, so `show` uses the renderer that
plotly chooses for the place, and puts caption and static form below it.
"""

import hashlib
import json
import math
import os
import re
from html import escape
from importlib.resources import files
from pathlib import Path

import plotly.graph_objects as go

from qbench.plots import _menu, drawing, theme

_TAGS = "b|i|em|strong|code|sub|sup"
_CONFIG = {
    "displaylogo": False,
    "scrollZoom": False,
    "modeBarButtonsToRemove": ["pan2d", "select2d", "lasso2d", "zoomIn2d", "zoomOut2d"]
    + ["autoScale2d", "hoverClosest3d", "tableRotation", "resetCameraLastSave3d"],
    "toImageButtonOptions": {"format": "svg"},
}


def show(fig: go.Figure, *, caption: str, alt: str, static: bool = True) -> None:
    """Display the figure in a notebook, with its static form.

    caption: said below the figure; may use <b>, <i>, <em>, <strong>, <code>, <sub>, <sup>, all
        else is escaped. alt: what the figure shows, for who cannot see it; plain text.
    static: False leaves the static form out (where the same figure stands nearby).
    Outside IPython it prints `alt`. Raises ValueError for an empty caption or alt.
    """
    _check(caption, alt)
    from IPython import get_ipython
    from IPython.display import display

    if os.environ.get("QBENCH_BOOK") == "1":
        page = html(fig, caption=caption, alt=alt, static=static)
        display({"text/html": page, "text/plain": f"Figure: {alt}"}, raw=True)
    elif get_ipython() is None:
        print(f"Figure: {alt}")
    else:
        fig.show(config=_CONFIG)
        below = _static(fig, alt, opened=False) if static else ""
        page = f"<figure>{below}<figcaption>{simple(caption)}</figcaption></figure>"
        display({"text/html": page, "text/plain": f"Figure: {alt}"}, raw=True)


def html(fig: go.Figure, *, caption: str, alt: str, static: bool = True) -> str:
    """The bundle that `show` displays in the book; arguments and errors as there."""
    _check(caption, alt)
    spec = {key: fig.to_dict()[key] for key in ("data", "layout")}
    spec["layout"].pop("updatemenus", None)  # the script draws the page's own menu
    data = as_json(_shared_texts(spec) | {"colours": theme.CSS_VARIABLES})
    name = hashlib.sha256(f"{data}{caption}{alt}{static}".encode()).hexdigest()[:12]
    shown = _static(fig, alt, opened=True) if static else ""
    unseen = "" if static else f"<noscript><p>{escape(alt)}</p></noscript>"
    return (
        f'<figure class="qb-figure" id="qb-{name}">\n'
        f'<div class="qb-live" id="qb-{name}-live" role="group" aria-label="{escape(alt)}" hidden>'
        "</div>\n"
        f'<script type="application/json" class="qbench-figure">{data}</script>\n'
        f"{shown}{unseen}"
        f"<figcaption>{simple(caption)}</figcaption>\n</figure>"
    )


def _shared_texts(spec: dict) -> dict:
    """The figure with each text of its points once, in `texts`, where most are there repeatedly.

    A trace's `text` then has places in that list; the script puts the words back. A figure with a
    menu has the same points in every choice.
    """
    listed = [isinstance(trace.get("text"), list | tuple) for trace in spec["data"]]
    words = [
        word
        for trace, has in zip(spec["data"], listed, strict=True)
        for word in (trace["text"] if has else ())
    ]
    if not all(isinstance(word, str) for word in words):
        return spec
    places = {word: place for place, word in enumerate(dict.fromkeys(words))}
    if 2 * sum(map(len, places)) >= sum(map(len, words)):
        return spec
    data = [
        trace | {"text": [places[word] for word in trace["text"]]} if has else trace
        for trace, has in zip(spec["data"], listed, strict=True)
    ]
    return spec | {"data": data, "texts": list(places)}


def plotly_js() -> Path:
    """Where the installed plotly keeps the `plotly.min.js` that fits it.

    Raises FileNotFoundError if the installed plotly has none.
    """
    path = Path(str(files("plotly") / "package_data" / "plotly.min.js"))
    if not path.is_file():
        raise FileNotFoundError(f"plotly has no {path}; install plotly 6 or newer from PyPI.")
    return path


def _check(caption: str, alt: str) -> None:
    for name, text in (("caption", caption), ("alt", alt)):
        if not text.strip():
            raise ValueError(f"A figure needs a {name}: say in one sentence what it shows.")


def _static(fig: go.Figure, alt: str, *, opened: bool) -> str:
    """The static form in a box to open; `opened` for pages where a script may close it."""
    menu = _menu.of(fig)
    name = f"Static form · {escape(menu.said())}" if menu else "Static form"
    return (
        f'<details class="qb-static"{" open" if opened else ""}><summary>{name}</summary>\n'
        f"{drawing.svg(fig, alt)}\n</details>\n"
    )


def simple(text: str) -> str:
    """The text escaped, except for properly nested pairs of a few tags without attributes."""
    text = escape(text, quote=False)
    within = rf"((?:(?!&lt;/?(?:{_TAGS})&gt;).)*)"
    pair = re.compile(rf"&lt;({_TAGS})&gt;{within}&lt;/\1&gt;", re.S)
    while (changed := pair.sub(r"<\1>\2</\1>", text)) != text:
        text = changed
    return text


def as_json(value: object) -> str:
    """Compact JSON that may stand in a script element; numbers to nine digits, NaN as null."""
    text = json.dumps(_tidy(value), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c")  # the one character that could end the element


def _tidy(value: object) -> object:
    if isinstance(value, dict):
        return {key: _tidy(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_tidy(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.9g}") if math.isfinite(value) else None
    return value.item() if hasattr(value, "item") else value
