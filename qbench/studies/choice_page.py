"""Chapter 16: the answer in words and as HTML, with a form that a script makes work.

`answer` says everything in the words of the page. `widget` is the page's part: the answer as it was
asked by the chapter's parameters, readable without a script, and the data with which
`book/_static/choice.js` answers anew whatever is entered in the form.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from math import inf, isnan
from typing import Any

import pandas as pd

from qbench import parameters, paths, plots
from qbench.parameters import Choice
from qbench.parameters.choice import CPU
from qbench.plots.bundle import as_json

from . import choice
from .choice import OBJECTIVES, PREFERRED, Wanted, fixed
from .choice_networks import RESOURCES, Offer, candidates, missing, rates, words
from .words import listed

CHAPTER = "16_choice"
SCRIPTS = ("choice.js", "choice-form.js")
HEADS = ("network", "accuracy (%)", "bits, W / A", "frames/s", "resources", "energy (µJ)")
EASED = ("limit", "fit", "most accurate (%)", "most frames/s", "least resources")
EASED += ("least energy (µJ)", "holds back")
LABELS = {"lut": "LUT", "bram18": "BRAM18", "dsp": "DSP"}
NAMES = {"accuracy": "accuracy", "rate": "frames/s", "resource": "resources", "energy": "energy"}
ASKED = {
    "device": "Device",
    "dataset": "Data set",
    "accuracy": "Accuracy, at least (%)",
    "frames_per_second": "Frames/s, at least",
    "share": "Part of the FPGA, at most (%)",
    "energy": "Energy, at most (µJ)",
    "prefer": "What matters most",
}


@dataclass(frozen=True)
class Answer:
    """`said`: sentences; `rows` and `easing`: cells of two tables by `HEADS` and `EASED`.

    The first cell of a row of `rows` has four lines: network, method, why it is there, and at what
    scale it was trained.
    """

    said: list[str]
    rows: list[list[Any]] = field(default_factory=list)
    easing: list[list[str]] = field(default_factory=list)


def answer(every: Offer, dataset: str, device: str, wanted: Wanted, most: int) -> Answer:
    """What is chosen, which limits bind, what easing them gives; or why nothing fits."""
    there = candidates(every, dataset, device)
    if device == CPU:  # of which there are no parts
        wanted = wanted.without("share")
    if there.empty:
        return Answer([_nothing_there(every, dataset, device)])
    kind = resource(device)
    rows = choice.choose(there, wanted)
    total, asked = there["network"].nunique(), limits(wanted, device)
    if rows.empty:
        near = choice.nearest(there, wanted)
        row = _cells(every, device, near, _nearest_why(near, wanted, device))
        return Answer(_nothing_fits(every, there, wanted, dataset, device), [row])
    count, eased = len(choice.fitting(there, wanted)), choice.easing(there, wanted)
    kept = f" keep to {listed(asked)}" if asked else " are there"
    beaten = f"Of these nothing beats {len(rows)}"
    if len(rows) == 1:
        beaten = "It is the only one" if count == 1 else "One of these beats all others"
    cut = f", of which the first {most} are shown" if len(rows) > most else ""
    said = [f"{count} of {total} networks of {dataset} on the {device}{kept}. {beaten}{cut}."]
    said.append(_binding(eased, wanted, device))
    same = choice.as_good(rows) if wanted.prefer == "accuracy" else None
    if same is not None:
        ratio = choice.times(same["resource"] / rows["resource"].iloc[0])
        said.append(
            f"Seeds do not tell the first from {words(every, same)['name']}, which takes {ratio} × "
            f"the {kind}."
        )
    said.append(_whose_numbers(device))
    why = choice.reasons(rows, choice.compared(there, wanted), kind)
    cells = [
        _cells(every, device, row, reason)
        for row, reason in zip(rows.head(most).to_dict("records"), why, strict=False)
    ]
    return Answer(said, cells, _eased(there, wanted, eased, device))


def resource(device: str) -> str:
    """What counts as resources on a device."""
    return "memory" if device == CPU else "share of the device"


def limits(wanted: Wanted, device: str) -> list[str]:
    """What is asked, in words."""
    return [limit(name, getattr(wanted, name), device) for name in wanted.asked]


def limit(name: str, value: float, device: str) -> str:
    return {
        "accuracy": f"an accuracy of at least {plain(value)} %",
        "frames_per_second": f"at least {plain(value)} frames/s",
        "share": f"at most {plain(100 * value)} % of the {device}",
        "energy": f"at most {plain(value)} µJ an image",
    }[name]


def plain(value: float) -> str:
    """A number as it was typed, thousands separated, nine decimals at most."""
    return f"{value:,.9f}".rstrip("0").rstrip(".")


def amount(name: str, value: float, device: str) -> str:
    """A value of an objective as tables have it."""
    if isnan(value):
        return "–"
    if name == "accuracy":
        return fixed(value, 2)
    if name == "rate":
        return fixed(value, 0)
    if name == "energy":
        return digits(value)
    return f"{digits(value)} kB" if device == CPU else f"{fixed(100 * value, 1)} %"


def digits(value: float) -> str:
    """Three digits or more, no exponent."""
    places = next((n for n, least in enumerate((100, 10, 1, 0.1, 0.01)) if value >= least), 5)
    return fixed(value, places)


def left_out(every: Offer, dataset: str, device: str) -> str:
    """How many networks are no candidates, and why; empty if all are."""
    rows = missing(every, dataset, device).to_dict("records")
    return "; ".join(f"{row['networks']} of {row['methods']}: {row['why']}" for row in rows)


def _whose_numbers(device: str) -> str:
    if device == CPU:
        return "Frames/s were measured, one image at a time; energy is a model's."
    return "Frames/s, resources and energy are models' numbers."


def _nothing_there(every: Offer, dataset: str, device: str) -> str:
    if not any(one["dataset"] == dataset for one in every.networks):
        return f"No network of {dataset} is stored."
    why = left_out(every, dataset, device)
    return f"No stored network of {dataset} can be had on the {device} ({why})."


def _nothing_fits(
    every: Offer, there: pd.DataFrame, wanted: Wanted, dataset: str, device: str
) -> list[str]:
    name, count = choice.tightest(there, wanted)
    without = f"without it {count} would fit" if count else "no limit is to blame alone"
    total = there["network"].nunique()
    return [
        f"Nothing fits: none of {total} networks of {dataset} on the {device} has "
        f"{listed(limits(wanted, device))}.",
        f"The tightest is {limit(name, getattr(wanted, name), device)}; {without}. The nearest:",
    ]


def _nearest_why(near: Mapping[str, Any], wanted: Wanted, device: str) -> str:
    said = []
    for name in wanted.asked:
        if choice.meets(pd.DataFrame([near]), wanted, name).iloc[0]:
            continue
        has = {
            "accuracy": f"an accuracy of {fixed(near['accuracy'], 2)} %",
            "frames_per_second": f"{fixed(near['rate'], 0)} frames/s",
            "share": f"{fixed(100 * near['share'], 1)} % of the {device}",
            "energy": f"{digits(near['energy'])} µJ",
        }[name]
        said.append(f"{has} (asked: {limit(name, getattr(wanted, name), device)})")
    return f"Nearest: {'; '.join(said)}."


def _binding(eased: Sequence[Mapping[str, Any]], wanted: Wanted, device: str) -> str:
    column = PREFERRED[wanted.prefer]
    what = NAMES[column]
    hold = [row["limit"] for row in eased if column in row["binds"]]
    if not hold:
        return f"No limit alone holds {what} back."
    named = [limit(name, getattr(wanted, name), device) for name in hold]
    return f"What holds {what} back: {listed(named)}."


def _cells(every: Offer, device: str, row: Mapping[str, Any], why: str) -> list[Any]:
    one = words(every, row)
    half = "" if one["half"] is None else f" ± {fixed(one['half'], 2)}"
    return [
        [one["name"], f"{one['method']}, chapter {one['chapter']}", why, one["trained"]],
        fixed(row["accuracy"], 2) + half,
        one["bits"],
        fixed(row["rate"], 0),
        _use(every, device, row),
        digits(row["energy"]),
    ]


def _use(every: Offer, device: str, row: Mapping[str, Any]) -> str:
    there = every.devices[device]
    if there is None:
        return f"{digits(row['resource'])} kB"
    known = [name for name in RESOURCES if not isnan(row[name])]
    parts = [f"{LABELS[name]} {fixed(100 * row[name] / there[name], 1)} %" for name in known]
    others = [LABELS[name] for name in RESOURCES if name not in known]
    doubt = f"; {listed(others)} not known: may not fit" if others else ""
    return ", ".join(parts) + doubt


def _eased(
    there: pd.DataFrame, wanted: Wanted, eased: Sequence[Mapping[str, Any]], device: str
) -> list[list[str]]:
    now = choice.reach(there, wanted)

    def cells(reach: Mapping[str, float], before: Mapping[str, float]) -> list[str]:
        found = [str(reach["networks"])]
        for name in OBJECTIVES:
            same = reach is not before and not choice.better(name, reach[name], before[name])
            found.append("same" if same else amount(name, reach[name], device))
        return found

    rows = [["as asked", *cells(now, now), ""]]
    for row in eased:
        binds = listed([NAMES[name] for name in row["binds"]]) if row["binds"] else "nothing"
        rows.append([limit(row["limit"], row["eased"], device), *cells(row["reach"], now), binds])
    return rows


# As HTML


def widget(every: Offer, p: Choice) -> plots.Table:
    """The page's part: form, answer, the command that gives the same, data and script."""
    found = answer(every, p.dataset, p.device, Wanted.of(p), p.most_rows)
    html = (
        f'<div class="qb-choice">\n{_form(every, p)}\n'
        f'<div class="qb-said" role="status">{_sentences(found.said)}</div>\n'
        f"{_table('The answer, network by network', HEADS, found.rows, 'chosen')}\n"
        f"{_table('What easing one limit by a step gives', EASED, found.easing, 'eased')}\n"
        '<p class="qb-command" hidden>The same by a command: <code></code></p>\n'
        f'<script type="application/json" class="qb-data">{as_json(data(every, p))}</script>\n'
        f"{_scripts()}\n</div>"
    )
    return plots.Table(html, _text(found))


def _scripts() -> str:
    """Links in the book, which carries the files; elsewhere the scripts themselves."""
    if os.environ.get("QBENCH_BOOK") == "1":
        return "".join(f'<script src="../_static/{name}"></script>' for name in SCRIPTS)
    files = (paths.BOOK / "_static" / name for name in SCRIPTS)
    return "".join(f"<script>\n{file.read_text(encoding='utf-8')}</script>" for file in files)


def data(every: Offer, p: Choice) -> dict[str, Any]:
    """What the script needs: the offer, what is asked at first, and what may be asked."""
    allowed = {name: said for name, said, _, _ in parameters.describe(CHAPTER)}
    pairs = [(d, on) for d in p.offered_datasets for on in p.offered_devices]
    return {
        **{name: getattr(every, name) for name in ("networks", "designs", "devices")},
        "left": {f"{d} {on}": left_out(every, d, on) for d, on in pairs},
        "most": p.most_rows,
        "allowed": {name: allowed[name] for name in ("accuracy", "share", "energy")},
        "started": {"device": p.device, "dataset": p.dataset} | _finite(asdict(Wanted.of(p))),
    }


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: None if value == inf else value for name, value in values.items()}


def _form(every: Offer, p: Choice) -> str:
    wanted = Wanted.of(p)
    energy = "" if wanted.energy == inf else plain(wanted.energy).replace(",", "")
    frames = [("0", "any"), *((plain(r).replace(",", ""), plain(r)) for r in rates(p))]
    boxes = {
        "device": _select("device", [(n, n) for n in p.offered_devices], p.device),
        "dataset": _select("dataset", [(n, n) for n in p.offered_datasets], p.dataset),
        "accuracy": _number("accuracy", plain(wanted.accuracy), "0", "100", "0.1"),
        "frames_per_second": _select(
            "frames_per_second", frames, plain(wanted.frames_per_second).replace(",", "")
        ),
        "share": _number("share", plain(100 * wanted.share), "1", "100", "1"),
        "energy": _number("energy", energy, "0", "", "any"),
        "prefer": _select(
            "prefer", [(n, NAMES[column]) for n, column in PREFERRED.items()], p.prefer
        ),
    }
    fields = "".join(
        f'<span><label for="qb-choice-{name}">{ASKED[name]}</label> {box}</span>\n'
        for name, box in boxes.items()
    )
    reset = '<button type="reset">As at first</button>'
    return f'<form class="qb-choice-form" hidden novalidate>\n{fields}{reset}\n</form>'


def _select(name: str, options: Sequence[tuple[str, str]], chosen: str) -> str:
    made = "".join(
        f'<option value="{escape(value)}"{" selected" * (value == chosen)}>{escape(text)}</option>'
        for value, text in options
    )
    return f'<select id="qb-choice-{name}" name="{name}">{made}</select>'


def _number(name: str, value: str, low: str, high: str, step: str) -> str:
    most = f' max="{high}"' if high else ""
    return (
        f'<input id="qb-choice-{name}" name="{name}" type="number" inputmode="decimal" '
        f'min="{low}"{most} step="{step}" value="{value}">'
    )


def _sentences(said: Sequence[str]) -> str:
    return "".join(f"<p>{escape(one)}</p>" for one in said)


def _table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[Any]], name: str) -> str:
    top = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    body = "".join(f"<tr>{''.join(map(_cell, range(len(row)), row))}</tr>\n" for row in rows)
    hidden = "" if rows else " hidden"
    return (
        f'<div class="qb-table" role="region" aria-label="{caption}" tabindex="0"{hidden}>\n'
        f'<table class="qb-{name}"><caption>{caption}</caption>\n'
        f"<thead><tr>{top}</tr></thead>\n<tbody>{body}</tbody></table></div>"
    )


def _cell(place: int, value: Any) -> str:
    if isinstance(value, list):
        name, *more = (escape(line) for line in value)
        small = "".join(f"<small>{line}</small>" for line in more)
        return f'<th scope="row">{name}{small}</th>'
    tag = '<th scope="row">' if place == 0 else "<td>"
    return f"{tag}{escape(value)}</{tag[1:3]}>"


def _text(found: Answer) -> str:
    parts = list(found.said)
    if found.rows:
        rows = [[row[0][0], *row[1:]] for row in found.rows]
        parts.append(pd.DataFrame(rows, columns=list(HEADS)).to_string(index=False))
        parts += [f"{row[0][0]}: {row[0][2]} {row[0][3]}" for row in found.rows]
    if found.easing:
        parts.append(pd.DataFrame(found.easing, columns=list(EASED)).to_string(index=False))
    return "\n".join(parts)
