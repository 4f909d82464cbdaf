"""Verdicts enough for a whole scoreboard, without executing a chapter."""

from qbench import scoreboard


def record(name, verdict="exact", ours="1", why=""):
    """A record as a chapter notes it, about the entry `name` of the catalogue."""
    source, _, entry = name.partition("/")
    said = {"ours": ours, "verdict": verdict, "why": why}
    if entry.startswith("claims:"):
        return {"source": source, "claim": entry.partition(":")[2], **said}
    return {"about": {"source": source, "entry": entry}, **said}


def needed():
    """What neither `scope.yml` nor an entry that says the same excuses: chapters must judge it."""
    excused, found = scoreboard.excuses(), scoreboard.catalogue()
    lent = scoreboard._lent(found)
    return [n for n in found.index if n not in excused and n not in lent]


def whole(**verdicts):
    """Every needed verdict, by chapter 05, all `exact` but those named."""
    return {"05": [record(name, verdicts.get(name, "exact")) for name in needed()]}
