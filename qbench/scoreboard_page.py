"""The scoreboard as a page, and its counts for the front page: Markdown with tables in HTML."""

import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd

from qbench import chapters, reference, scoreboard

#: What a filter's value for the rows without any verdict begins with: see scoreboard.js.
NOT_JUDGED = "-"
MEANINGS = {
    "exact": "equal to what is printed",
    "matches": "within the tolerance that the chapter gives, with its reason",
    "trend": "the claim holds on our numbers",
    "differs": "it does not, or not in every way we looked",
    "erratum": "the publication disagrees with itself",
    "needs hardware": "only a device that is not here could tell",
}
REASONS = {
    "setting": "what was trained or built, not what came out",
    "definition": "a formula or an example",
    "cited": "somebody else's result, a data sheet, general knowledge",
    "arithmetic": "it follows from other printed numbers; the page of errata computes it",
    "no number": "the cell is empty in print",
    "not tried here": "it could be run, and no chapter does",
    "scale": "a chapter would judge it, but not with what is published of it so far",
    "out of reach": "the data cannot be had here",
    "chapter to come": "being written",
}
ROMAN = ("", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X")
COLUMNS = ("Claim or entry", "Printed", "Ours", "Verdict", "Chapter")


def generated(said: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, str]:
    """Markdown by file name, as `pages.generated`, from the verdicts of the executed chapters."""
    whole = scoreboard.board(said)
    return {
        "counts.md": front(whole, reference.TITLES),
        "scoreboard.md": small() + page(whole, reference.TITLES),
        "verdicts.md": legend(whole),
    }


def small() -> str:
    """Which chapters are published at the smallest scale: their trainings settle little."""
    found = []
    for chapter in chapters.all_chapters():
        known = chapters.profiles(chapter)
        if known["published"] == known["smoke"] != known["laptop"]:
            found.append(f"{{doc}}`{int(chapter.name[:2])} <../notebooks/{chapter.name}>`")
    if not found:
        return ""
    which = ", ".join(found)
    return (
        f"Published at the smallest scale so far, seconds of training: chapters {which}. What "
        "these say of accuracies will change.\n\n"
    )


def page(whole: pd.DataFrame, titles: dict[str, str]) -> str:
    """All of `scoreboard.board` under a form that filters it; without a script, all of it."""
    used = [name for name in titles if name in set(whole["source"])]
    parts = [f"```{{raw}} html\n{_form(whole, {name: titles[name] for name in used})}\n```\n"]
    for source in used:
        rows = whole[whole["source"] == source]
        judged = (rows["verdict"] != "").sum()
        parts.append(f"## {titles[source]}\n\n{judged:,} of {len(rows):,} have a verdict.\n")
        parts.append(f"```{{raw}} html\n{_table(source, titles[source], rows)}\n```\n")
    return "\n".join(
        [*parts, '```{raw} html\n<script src="../_static/scoreboard.js"></script>\n```\n']
    )


def front(whole: pd.DataFrame, titles: dict[str, str]) -> str:
    """What the front page says: a sentence, and a row a publication with its counts."""
    table = scoreboard.counts(whole)
    table = table.reindex([name for name in titles if name in table.index])
    total = table.sum()
    holds = total[["exact", "matches", "trend"]].sum()
    judged = total["all"] - total["not judged"]
    sentence = (
        f"The five works make **{total['all']:,} claims and entries of tables** that a run could "
        f"confirm or refute or that describe one. {judged:,} have a verdict: {holds:,} hold, "
        f"{total['differs']:,} do not, in {total['erratum']:,} the publication contradicts itself, "
        f"and {total['needs hardware']:,} need hardware that is not here. Each of the others says "
        "why it has none. [Look one up on the scoreboard](scoreboard.md)."
    )
    heads = "".join(
        f'<th scope="col" class="qb-number">{_mark(name) if name in MEANINGS else name}</th>'
        for name in table
    )
    body = "".join(
        f'<tr><th scope="row">{escape(titles.get(str(name), str(name)))}</th>'
        + "".join(_count(row[column], str(name), str(column)) for column in table)
        + "</tr>\n"
        for name, row in [*table.iterrows(), ("", total)]
    ).replace('<th scope="row"></th>', '<th scope="row">All</th>')
    caption = "Verdicts on every claim and table entry, by publication"
    return (
        f"{sentence}\n\n```{{raw}} html\n"
        f'<div class="qb-table" role="region" aria-label="{caption}" tabindex="0">\n'
        f"<table>\n<caption>{caption}</caption>\n<thead><tr>"
        f'<th scope="col">publication</th>{heads}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>\n'
        "</div>\n```\n"
    )


def legend(whole: pd.DataFrame) -> str:
    """What the verdicts and reasons of `scoreboard.board` mean, as Markdown definitions."""
    used = {*whole["verdict"], *whole["reason"]}
    meanings = (MEANINGS | REASONS).items()
    lines = [f"**{word}**: {meaning}." for word, meaning in meanings if word in used]
    return "\n".join(f"* {line}" for line in lines) + "\n"


def _count(number: int, source: str, column: str) -> str:
    """A cell of the front page's table; the number leads to its rows on the scoreboard."""
    chosen = {"all": "", "not judged": f"verdict={NOT_JUDGED}"}.get(column, f"verdict={column}")
    wanted = "&".join(part for part in (f"publication={source}" * bool(source), chosen) if part)
    link = f'<a href="scoreboard.html#{escape(wanted.replace(" ", "%20"))}">{number:,}</a>'
    return f'<td class="qb-number">{link if number else number}</td>'


def _form(whole: pd.DataFrame, titles: dict[str, str]) -> str:
    numbers = sorted({n for text in whole["chapter"] for n in text.split(", ") if n})
    names = {chapter.name[:2]: f"{int(chapter.name[:2])} · {chapter.title}"
             for chapter in chapters.all_chapters()}  # fmt: skip
    verdicts = [name for name in scoreboard.VERDICTS if (whole["verdict"] == name).any()]
    verdicts.sort(key=list(MEANINGS).index)
    reasons = [name for name in REASONS if (whole["reason"] == name).any()]
    options = {
        "publication": [(name, title) for name, title in titles.items()],
        "chapter": [(number, names.get(number, number)) for number in numbers],
        "verdict": [(name, name) for name in verdicts]
        + [(NOT_JUDGED, "not judged")]
        + [(NOT_JUDGED + name, f"not judged: {name}") for name in reasons],
    }
    fields = "".join(
        f'<span><label for="qb-{name}">{name.capitalize()}</label> '
        f'<select id="qb-{name}" name="{name}">'
        '<option value="">any</option>'
        + "".join(f'<option value="{escape(v)}">{escape(text)}</option>' for v, text in given)
        + "</select></span>\n"
        for name, given in options.items()
    )
    return (
        f'<form class="qb-filter" hidden>\n{fields}'
        '<button type="reset">Show all</button>\n'
        '<output aria-live="polite"></output>\n</form>'
    )


def _table(source: str, title: str, rows: pd.DataFrame) -> str:
    heads = "".join(f'<th scope="col">{name}</th>' for name in COLUMNS)
    groups = "".join(_group(str(name), part) for name, part in _groups(rows))
    label = f"Verdicts on {title}"
    return (
        f'<div class="qb-table" role="region" aria-label="{escape(label)}" tabindex="0">\n'
        f'<table class="qb-score" data-publication="{source}">\n'
        f"<caption>{escape(label)}</caption>\n"
        f"<thead><tr>{heads}</tr></thead>\n{groups}</table>\n</div>"
    )


def _groups(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Claims first, section by section, then those in tables and figures; then table by table."""
    claims = rows[rows["table"] == "claims"]
    for where, part in sorted(claims.groupby("where", sort=False), key=lambda one: _place(one[0])):
        yield f"{where}: claims", part
    entries = rows[rows["table"] != "claims"]
    order = sorted(entries["table"].unique(), key=_natural)
    for table in order:
        yield (
            table.replace("_", " ", 1).replace("_", ".").capitalize(),
            entries[entries["table"] == table],
        )


def _place(where: str) -> tuple[int, list[int]]:
    """Where "Abstract", "Section 2.10", "Section III-C" or "Table 4" comes in a publication."""
    kind, _, rest = where.partition(" ")
    order = {"Abstract": 0, "Chapter": 1, "Section": 1}.get(kind, 2)
    roman = re.match(r"[IVX]+\b", rest)
    first = [ROMAN.index(roman[0])] if roman and roman[0] in ROMAN else []
    letters = [ord(letter) for letter in re.findall(r"-([A-Z])\b", rest)]
    return order, first + letters + [int(number) for number in re.findall(r"\d+", rest)]


def _natural(name: str) -> list[tuple[int, int | str]]:
    return [(0, int(part)) if part.isdigit() else (1, part) for part in name.split("_")]


def _group(name: str, rows: pd.DataFrame) -> str:
    lines = [f'<tbody><tr class="qb-group"><th colspan="{len(COLUMNS)}" scope="rowgroup">'
             f"{escape(name)} ({len(rows)})</th></tr>\n"]  # fmt: skip
    for row in rows.itertuples():
        said = row.verdict or NOT_JUDGED + row.reason
        mark = _mark(row.verdict) if row.verdict else escape(row.reason)
        why = f"<small>{escape(row.why)}</small>" if row.why else ""
        lines.append(
            f'<tr data-v="{said}"' + (f' data-c="{row.chapter}"' if row.chapter else "") + ">"
            f'<th scope="row">{escape(row.what)}{why}</th><td>{escape(row.published)}</td>'
            f"<td>{escape(row.ours)}</td><td>{mark}</td><td>{_links(row.chapter)}</td></tr>\n"
        )
    return "".join(lines) + "</tbody>\n"


def _mark(verdict: str) -> str:
    return f'<span class="qb-verdict qb-{verdict.replace(" ", "-")}">{verdict}</span>'


def _links(text: str) -> str:
    names = {chapter.name[:2]: chapter.name for chapter in chapters.all_chapters()}
    return ", ".join(
        f'<a href="../notebooks/{names[number]}.html">{int(number)}</a>'
        for number in text.split(", ")
        if number in names
    )
