"""The page of errata: what is recorded, and what of the printed numbers was computed anew."""

from collections.abc import Mapping

import pandas as pd

from qbench import plots, reference
from qbench.studies.errata_numbers import DIGITS


def listed(titles: Mapping[str, str]) -> str:
    """The errata of every publication, a section each: Markdown."""
    parts = []
    found = reference.errata()
    for source in [name for name in titles if name in set(found["source"])]:
        rows = found[found["source"] == source]
        shown = rows[["where", "printed", "should_be", "arithmetic", "note"]]
        shown = shown.rename(columns={"should_be": "should be", "note": "remark"})
        table = _html(shown, f"{titles[source]}: {len(shown)} entries", "qb-errata")
        parts.append(f"## {titles[source]}\n\n{table}")
    return "\n".join(parts)


def checked(titles: Mapping[str, str]) -> str:
    """How many numbers of each kind were computed anew, how many agree, and which do not."""
    from qbench.studies import errata

    found = errata.checks()
    of = found.groupby(["source", "check"], sort=False)["agrees"].agg(["size", "sum"]).reset_index()
    total = f"{len(found):,} numbers were computed from others; {found['agrees'].sum():,} agree.\n"
    counts = pd.DataFrame(
        {
            "publication": of["source"].map(titles),
            "computed": of["check"],
            "numbers": of["size"],
            "agree": of["sum"],
        }
    )
    apart = found[~found["agrees"]]
    shown = pd.DataFrame(
        {
            "publication": apart["source"].map(titles),
            "what": apart["what"],
            "printed": apart["printed"],
            "computed": [
                f"{computed:z,.{_decimals(printed) + 1}f}"
                for printed, computed in zip(apart["printed"], apart["computed"], strict=True)
            ],
            "erratum": apart["erratum"].str.replace("_", " "),
        }
    )
    return "\n".join(
        [
            total,
            _html(counts, "What was computed from the printed numbers"),
            _html(shown, "Where that contradicts what is printed"),
        ]
    )


def _decimals(printed: str) -> int:
    """Most decimals of a number in a printed text; 0 in words alone."""
    return max((len(n.partition(".")[2]) for n in DIGITS.findall(printed)), default=0)


def _html(frame: pd.DataFrame, caption: str, style: str = "") -> str:
    shown = plots.table(frame, caption=caption)._repr_html_()
    return f'```{{raw}} html\n<div class="{style}">{shown}</div>\n```\n'
