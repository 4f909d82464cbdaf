"""The parts of the prose pages that are made from files: tables of data, errata, runs, pins."""

import html

import pandas as pd

from qbench import data, paths, plots, provenance, reference, store

TITLES = {
    "stewart2021": "Stewart et al. 2021",
    "stewart2020": "Stewart et al. 2020 (preprint)",
    "ducasse2021": "Ducasse et al. 2021",
    "faraone2021": "Faraone 2021",
    "vailakis2022": "Vailakis 2022",
    "horowitz2014": "Horowitz 2014",
}


def generated() -> dict[str, str]:
    """Markdown by file name, for `book/generated/`; the pages in `book/` include it."""
    return {
        "datasets.md": _datasets(),
        "published.md": _published(),
        "errata.md": _errata(),
        "runs.md": _runs(),
        "pins.md": _pins(),
    }


def _table(frame: pd.DataFrame, caption: str) -> str:
    return f"```{{raw}} html\n{plots.table(frame, caption=caption)._repr_html_()}\n```\n"


def _datasets() -> str:
    listed = data.catalogue().drop(columns=["cached", "where"])
    named = listed.rename(columns={"download_mb": "download (MB)"})
    return _table(named, "Data sets that load() knows, and their sources in the order tried")


def _published() -> str:
    rows = []
    for source in reference.sources():
        tables = [reference.load(source, table) for table in reference.tables(source)]
        counts = {"numbers": sum(map(len, tables)), "tables": len(tables)}
        if (paths.PAPER / source / "claims.csv").exists():
            counts |= {"claims": len(reference.claims(source))}
        if (paths.PAPER / source / "errata.csv").exists():
            counts |= {"errata": len(reference.errata(source))}
        rows.append({"publication": TITLES.get(source, source), **counts})
    frame = pd.DataFrame(rows).fillna(0).convert_dtypes()
    return _table(frame, "Published values in data/paper/")


def _errata() -> str:
    parts = []
    for source, found in reference.errata().groupby("source", sort=False):
        shown = found[["where", "printed", "should_be", "arithmetic"]]
        shown = shown.rename(columns={"should_be": "should be"})
        title = TITLES.get(source, source)
        table = _table(shown, f"{title}: {len(shown)} entries")
        parts.append(f"````{{dropdown}} {title} ({len(shown)})\n{table}````\n")
    return "\n".join(parts)


def _runs() -> str:
    entries = [entry for entry in store.entries() if entry.published]
    if not entries:
        return "No run is stored yet.\n"
    rows = []
    for entry in entries:
        record, asked = entry.record, entry.spec["parameters"]
        rows.append(
            {
                "key": entry.key[:8],
                "method": entry.spec["method"].rpartition(".")[2],
                "parameters": ", ".join(f"{name} {value}" for name, value in asked.items()),
                "took": provenance.duration(record["seconds"]),
                "machine": f"{record['machine']['processor']}, {record['machine']['cores']} cores",
                "date": record["date"][:10],
                "commit": record["commit"] or "—",
            }
        )
    frame = pd.DataFrame(rows)
    total = provenance.duration(sum(entry.record["seconds"] for entry in entries))
    table = _table(frame, f"{len(frame)} published runs, {total} of computing in all")
    return f"````{{dropdown}} All {len(frame)} published runs\n{table}````\n"


def _pins() -> str:
    lines = (paths.ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = [html.escape(line) for line in lines if line and not line.startswith("#")]
    block = "```text\n" + "\n".join(pins) + "\n```\n"
    return f"````{{dropdown}} All {len(pins)} pinned packages\n{block}````\n"
