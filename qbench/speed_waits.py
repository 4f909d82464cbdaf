"""What a user waits for: commands, results looked up, generations on Dask, sets enumerated, pages.

Each of the five measures one of them and returns what every round gave, and `summed_up` puts the
medians beside what is aimed at. To be run on a machine that does nothing else, by `make bench`.

Run as a program, this module is the process in which results are looked up: its store is thrown
away afterwards.
"""

import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pandas as pd

from qbench import book, cluster, paths, printing, provenance, store, workers
from qbench.errors import UserError
from qbench.hardware import rccm_matching, rccm_sets
from qbench.speed_processes import rounds_of, serve, worker
from qbench.store.writing import parquet

HELP, TORCH, PYTHON = "qbench --help", "import torch", "python -c pass"
REFUSED = "qbench run, of parameters that it refuses"
COMMANDS = {  # what is started: what follows `python`
    PYTHON: ("-c", "pass"),
    TORCH: ("-c", "import torch"),
    "import qbench": ("-c", "import qbench"),
    HELP: ("-m", "qbench", "--help"),
    "qbench chapters": ("-m", "qbench", "chapters"),
    REFUSED: ("-m", "qbench", "run", "02", "-p", "epochs", "-1"),
}
METHODS, WITH_TABLES = 4, 100  # of the many results; the others' tables are empty files
CHAPTER = 64  # results of a chapter such as the sweep's
FOUND, WHOLE, PREFIX = "find a specification", "look a whole key up", "look a prefix up"
ASLEEP, COMPUTING = "asleep", "computing"
PAGES = (
    "book/intro",
    "book/scoreboard",
    "book/library/fpga",
    "notebooks/02_bit_width_sweep",
    "notebooks/06_distillation",
    "notebooks/15_comparison",
    "notebooks/16_choice",
)


class WaitError(UserError, RuntimeError):
    """Something that is to be measured is not there."""


@store.method(version=1, repeatable=False)
def started(*, rounds: int = 7) -> pd.DataFrame:
    """Time `COMMANDS`, each in a process of its own. Columns: `what`, `round`, `seconds`.

    Raises `WaitError` where one of them fails, or what is to be refused is not.
    """
    rows = []
    for number in rounds_of(rounds, "commands, round"):
        for what, command in COMMANDS.items():
            begun = time.perf_counter()
            done = subprocess.run([sys.executable, *command], capture_output=True, check=False)
            rows.append((what, number, time.perf_counter() - begun))
            if (done.returncode == 0) == (what == REFUSED):
                raise WaitError(f"{what} ended with status {done.returncode}: it cannot be timed.")
    table = pd.DataFrame(rows, columns=["what", "round", "seconds"])
    return table[table["round"] > 0].reset_index(drop=True)


@store.method(version=2, repeatable=False)
def looked_up(*, results: int = 100_000) -> pd.DataFrame:
    """Time a store of so many small results of four methods, made for it and thrown away.

    Columns: `what`, `seconds` (one of it; the mean over a hundred where a hundred were done).
    """
    with worker(module=__name__) as ask:
        return pd.DataFrame(ask("store", results=results)["rows"], columns=["what", "seconds"])


@store.method(version=1, repeatable=False)
def generations(
    *, individuals: int = 16, seconds: float = 10.0, workers: int = 2, rounds: int = 1
) -> pd.DataFrame:
    """Time generations of equal individuals on local Dask clusters of one worker and of `workers`.

    Those that sleep for `seconds` tell what Dask costs, as no processor is needed beside it; those
    that compute for a quarter of them tell what further workers gain. Columns: `individuals`
    ("asleep", "computing"), `workers`, `round`, `seconds` (of the generation), `least` (what the
    individuals take by themselves).
    """
    rows, kinds = [], {ASLEEP: (_sleeping, seconds), COMPUTING: (_computing, seconds / 4)}
    with tempfile.TemporaryDirectory() as folder, cluster.environment(_surroundings(folder)):
        for many in sorted({1, workers}):
            with cluster.local(many) as address, cluster.environment({cluster.VARIABLE: address}):
                _generation(_sleeping, 0.0, 2 * many)  # workers import what they need
                for number in range(1, rounds + 1):
                    for kind, (work, each) in kinds.items():
                        if kind == ASLEEP and many < workers:
                            continue  # minutes for what nobody asks
                        took = _generation(work, each, individuals)
                        rows.append((kind, many, number, took, each * individuals / many))
    columns = ["individuals", "workers", "round", "seconds", "least"]
    return pd.DataFrame(rows, columns=columns)


@store.method(version=1, repeatable=False)
def enumerated(
    *, architectures: Sequence[str] = ("2-Add", "3-Add", "4-Add"), rounds: int = 3
) -> pd.DataFrame:
    """Time all coefficient sets of multipliers made of adders: listed, and compared with weights.

    Each multiplier in a process of its own. Columns: `multiplier`, `round`, `sets` (different
    ones), `seconds` and `memory_mib`, the most that the process had.
    """
    rows = []
    for number in rounds_of(rounds, "coefficient sets, round"):
        for name in architectures:
            with worker(module=__name__) as ask:
                rows.append({"multiplier": name, "round": number} | ask("match", multiplier=name))
    table = pd.DataFrame(rows)
    return table[table["round"] > 0].reset_index(drop=True)


@store.method(version=2, repeatable=False)
def opened(*, pages: Sequence[str] = PAGES, rounds: int = 5) -> pd.DataFrame:
    """Time pages of the built book that headless Chromium opens from the disk, without a network.

    Columns: `page`, `round`, `loaded`, `answers` (scripts have run and 50 ms are free) and `drawn`
    (the first figure, which is scrolled to once the page answers; NaN without one), in seconds from
    the start of the navigation; `kilobytes` of the page itself, `with_all` with what it loads but
    for plotly. Raises `WaitError` where there is no Chromium or no book.
    """
    if printing.chromium() is None:
        raise WaitError(f"{printing.MISSING} to time the pages.")
    files = {name: book.INDEX.parent / f"{name}.html" for name in pages}
    if missing := [name for name, file in files.items() if not file.exists()]:
        raise WaitError(f"The built book has no page {missing[0]}: `make book` builds it.")
    from playwright.sync_api import sync_playwright

    rows = []
    with sync_playwright() as play:
        flags = ["--no-sandbox", "--enable-unsafe-swiftshader"]  # WebGL, for surfaces
        browser = play.chromium.launch(executable_path=printing.chromium(), args=flags)
        weights = {name: _weight(browser, file) for name, file in files.items()}
        for number in rounds_of(rounds, "pages, round"):
            for name, file in files.items():
                own = file.stat().st_size / 1e3
                rows.append((name, number, *_times(browser, file), own, weights[name] / 1e3))
        browser.close()
    columns = ["page", "round", "loaded", "answers", "drawn", "kilobytes", "with_all"]
    table = pd.DataFrame(rows, columns=columns)
    return table[table["round"] > 0].reset_index(drop=True)


def summed_up(measured: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """What there is of the five tables by function's name, beside what is aimed at.

    Columns: `what`, `took` (median over the rounds, in `unit`), `unit`, `aim` (as a sentence would
    have it; "" where there is none) and `met` (None without an aim).
    """
    rows = []
    if (found := measured.get("started")) is not None:
        medians = found.groupby("what", sort=False)["seconds"].median()
        aims = {HELP: 0.3}
        rows += [(what, took, "s", aims.get(what), min) for what, took in medians.items()]
    if (found := measured.get("looked_up")) is not None:
        aims = dict.fromkeys((FOUND, WHOLE, PREFIX), 5.0)
        taken = zip(found["what"], 1e3 * found["seconds"], strict=True)
        rows += [(what, took, "ms", aims.get(what), min) for what, took in taken]
    if (found := measured.get("enumerated")) is not None:
        aims = {"4-Add": 60.0}  # seconds, on two cores
        for name, of in found.groupby("multiplier", sort=False):
            what = f"all {of['sets'].iloc[0]:,} sets of the {name}, compared with weights"
            rows.append((what, of["seconds"].median(), "s", aims.get(name, 2.0), min))
            rows.append((f"{what}: memory", of["memory_mib"].max() / 1024, "GiB", 4.0, min))
    if (found := measured.get("generations")) is not None:
        rows += _of_generations(found)
    if (found := measured.get("opened")) is not None:
        medians = found.groupby("page", sort=False)[["answers", "drawn", "with_all"]].median()
        for page, row in medians.iterrows():
            rows.append((f"{page}: until it answers", row["answers"], "s", 2.0, min))
            if not math.isnan(row["drawn"]):
                rows.append((f"{page}: until a figure is drawn", row["drawn"], "s", None, min))
            rows.append((f"{page}: weight but for plotly", row["with_all"] / 1e3, "MB", None, min))
    signs = {min: "at most", max: "at least"}
    return pd.DataFrame(
        [
            {
                "what": what,
                "took": took,
                "unit": unit,
                "aim": "" if aim is None else f"{signs[which]} {aim:g}",
                "met": None if aim is None else bool(which(took, aim) == took),
            }
            for what, took, unit, aim, which in rows
        ]
    )


def _of_generations(found: pd.DataFrame) -> list[tuple[str, float, str, float | None, Any]]:
    """Dask's share of a generation that sleeps; how much faster more workers compute."""
    medians = found.groupby(["individuals", "workers"])[["seconds", "least"]].median()
    most = int(found["workers"].max())
    slept, alone = medians.loc[(ASLEEP, most)], medians.loc[(COMPUTING, 1), "seconds"]
    share = 100 * (slept["seconds"] / slept["least"] - 1)
    times = alone / medians.loc[(COMPUTING, most), "seconds"]
    return [
        (f"Dask's own time in a generation on {most} workers", share, "%", 5.0, min),
        (f"{most} workers against 1", times, "times as fast", 1.7 if most == 2 else None, max),
    ]


# Individuals, and the generation of them


def _sleeping(seconds: float) -> None:
    """An individual that leaves the processor alone."""
    time.sleep(seconds)


def _computing(seconds: float) -> int:
    """An individual that needs a processor for `seconds` of its own time."""
    end, turns = time.process_time() + seconds, 0
    while time.process_time() < end:
        turns += sum(range(1000))
    return turns


def _generation(individual: Callable[[float], Any], seconds: float, count: int) -> float:
    """Seconds of a generation on as many workers as the cluster has."""
    begun = time.perf_counter()
    for _ in workers.sent(individual, [(seconds,)] * count, title="individuals", leave=False):
        pass
    return time.perf_counter() - begun


def _surroundings(folder: str) -> dict[str, str]:
    """Of a worker: a folder of its own, and the modules that this process has."""
    return {"QBENCH_WORKER": folder, "PYTHONPATH": os.pathsep.join([str(paths.ROOT), *sys.path])}


# A page in the browser


ANSWERS = """() => new Promise((done) => {
    const wait = () => {
        const before = performance.now();
        setTimeout(() => (performance.now() - before < 70 ? done(performance.now()) : wait()), 50);
    };
    wait();
})"""
FIGURE = "figure.qb-figure:has(.qb-live)"


def _times(browser: Any, file: Path) -> tuple[float, float, float]:
    """Seconds from the start of the navigation until it is loaded, answers, and draws a figure."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    page = context.new_page()
    page.set_default_timeout(300_000)
    page.goto(file.as_uri())
    loaded = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
    answers = page.evaluate(ANSWERS)
    drawn, figure = math.nan, page.locator(FIGURE).first
    if figure.count():
        figure.scroll_into_view_if_needed()
        figure.locator(".main-svg").first.wait_for()
        drawn = page.evaluate("performance.now()")
    context.close()
    return loaded / 1e3, answers / 1e3, drawn / 1e3


def _weight(browser: Any, file: Path) -> int:
    """Bytes of the page and all that it loads, plotly left out."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    page, asked = context.new_page(), set()
    page.on("request", lambda request: asked.add(request.url.partition("?")[0]))
    page.goto(file.as_uri(), timeout=300_000)
    context.close()
    local = [Path(unquote(urlsplit(url).path)) for url in asked if url.startswith("file:")]
    return sum(f.stat().st_size for f in local if f.exists() and f.name != "plotly.min.js")


# The process with a store of many results


@store.method(version=1)
def many(*, number: int) -> pd.DataFrame:
    """What the results are of; nobody computes them."""
    return pd.DataFrame({"x": [1.5]})


def _store(results: int) -> dict[str, list[tuple[str, float]]]:
    """Fill a store with so many results; seconds of what may be asked of it."""
    many.__module__ = "qbench.toy"  # here it is `__main__`'s
    with tempfile.TemporaryDirectory() as folder, cluster.environment({"QBENCH_RESULTS": folder}):
        paths.PUBLISHED = Path(folder) / "none"
        keys = _fill(Path(folder), results)
        time.sleep(2.5)  # until the folders' time stamps have settled
        rows = [(what, _seconds(call, times)) for what, call, times in _asked(keys)]
    return {"rows": rows}


def _fill(root: Path, count: int) -> list[str]:
    """Store so many results without flushing each to the disk; returns their keys."""
    content = parquet(many(number=0))
    digest = hashlib.sha256(content).hexdigest()
    same = {"sha256": digest, "rows": 1, "columns": ["x"], "date": provenance.now()}
    same |= {"seconds": 1.5, "together": 1, "peak_memory_mib": 500, "commit": "0123456789ab"}
    same |= {"machine": provenance.machine(), "versions": provenance.versions()}
    keys = []
    for number in range(count):
        spec = _spec(number)
        folder, key = root / spec["method"], store.key(spec)
        if number < METHODS:
            folder.mkdir()
        (folder / f"{key}.json").write_text(json.dumps({"spec": spec} | same, indent=1))
        table = folder / f"{key}-{digest[:12]}.parquet"
        table.write_bytes(content if number < WITH_TABLES else b"")
        keys.append(key)
    return keys


def _spec(number: int) -> store.Spec:
    spec = store.spec(many, number=number)
    return spec | {"method": f"{spec['method']}_{number % METHODS}"}


def _asked(keys: list[str]) -> list[tuple[str, Callable[[int], Any], int]]:
    """What is asked of a store, by whom, and how often."""
    listed = (sys.executable, "-m", "qbench", "results", "list")
    few = min(WITH_TABLES, len(keys))
    return [
        (FOUND, lambda n: store.find(_spec(n)), few),
        (WHOLE, lambda n: store.lookup(keys[n]), few),
        ("look a prefix up, the first", lambda n: store.lookup(keys[n][:12]), 1),
        (PREFIX, lambda n: store.lookup(keys[n][:12]), few),
        ("store one more", lambda n: store.run(many, number=len(keys) + n), few),
        (
            "read every entry of one method",
            lambda n: sum(1 for _ in store.entries(method=_spec(n)["method"])),
            1,
        ),
        ("read every entry", lambda n: sum(1 for _ in store.entries()), 1),
        ("qbench results list", lambda n: _quietly(listed), 1),
        (
            f"tables of {min(few, CHAPTER)} results, as a chapter's verdicts need",
            lambda _: [store.find(_spec(one)).table() for one in range(min(few, CHAPTER))],
            1,
        ),
        ("publish one", lambda n: store.publish(store.lookup(keys[n])), few),
    ]


def _match(multiplier: str) -> dict[str, float]:
    """Enumerate its sets and compare each with a bell of weights; only so much is timed."""
    bell = [round(10_000 * math.exp(-((place - 15) ** 2) / 40)) for place in range(31)]
    begun = time.perf_counter()
    sets = rccm_sets.enumerate_sets(multiplier)
    rccm_matching.match(sets, bell)
    took = time.perf_counter() - begun
    return {"sets": len(sets), "seconds": took, "memory_mib": provenance.peak_memory_mib()}


def _seconds(call: Callable[[int], Any], times: int) -> float:
    begun = time.perf_counter()
    for number in range(times):
        call(number)
    return (time.perf_counter() - begun) / times


def _quietly(command: Sequence[str]) -> None:
    """Run it; what it prints goes nowhere."""
    subprocess.run(command, capture_output=True, check=True)


if __name__ == "__main__":
    serve({"store": _store, "match": _match})
