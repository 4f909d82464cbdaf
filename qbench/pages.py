"""The parts of the prose pages that are made from files: tables of data, errata, runs, pins."""

from collections.abc import Callable, Mapping

import pandas as pd

from qbench import (
    chapters,
    data,
    errata_page,
    faults,
    library,
    licences,
    parameters,
    paths,
    plots,
    provenance,
    reference,
    speed,
    speed_tables,
    store,
)
from qbench import speed_distillation as students
from qbench import speed_rounding as rounding
from qbench import speed_waits as waits
from qbench.studies import words

SPEED = (speed.sweep_step, speed.sweep_scaling, speed.sweep_epoch)


def generated() -> dict[str, str]:
    """Markdown by file name, for `book/generated/`; the pages in `book/` include it."""
    return {
        "datasets.md": _datasets(),
        "published.md": _published(),
        "errata.md": errata_page.listed(reference.TITLES),
        "checked.md": errata_page.checked(reference.TITLES),
        "runs.md": _runs(),
        "pins.md": _pins(),
        "speed.md": _speed(),
        "accuracy.md": _accuracy(),
        "students.md": _students(),
        "rounding.md": _rounding(),
        "waits.md": _waits(),
        "faults.md": _faults(),
        "library.md": library.listed(),
        "parameters.md": _parameters(),
    }


def _table(frame: pd.DataFrame, caption: str, formats: Mapping[str, str] | None = None) -> str:
    shown = plots.table(frame, caption=caption, formats=formats)
    return f"```{{raw}} html\n{shown._repr_html_()}\n```\n"


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
        rows.append({"publication": reference.TITLES[source], **counts})
    frame = pd.DataFrame(rows).fillna(0).convert_dtypes()
    return _table(frame, "Published values in data/paper/")


def _runs() -> str:
    """The published results by method and machine; one by one they would be a page of megabytes."""
    entries = list(store.entries(paths.PUBLISHED))
    if not entries:
        return "No run is stored yet.\n"
    rows = [
        {
            "method": entry.spec["method"],
            "machine": "{processor}, {cores} cores".format(**entry.record["machine"]),
            "seconds": entry.record["seconds"],
            "date": entry.record["date"][:10],
            "commit": entry.record["commit"] or "—",
        }
        for entry in entries
    ]
    groups = pd.DataFrame(rows).groupby(["method", "machine"])
    frame = groups.agg(
        results=("seconds", "size"),
        seconds=("seconds", "sum"),
        first=("date", "min"),
        last=("date", "max"),
        commits=("commit", "nunique"),
    ).reset_index()
    total = provenance.duration(float(frame["seconds"].sum()))
    frame["computing"] = frame.pop("seconds").map(provenance.duration)
    return _table(frame, f"{len(entries):,} published results, {total} of computing in all")


def _pins() -> str:
    pins = licences.table()
    shown = _table(pins, "What `requirements.lock` pins, and under which licence it is used")
    return f"````{{dropdown}} All {len(pins)} pinned packages and their licences\n{shown}````\n"


def _entries(*functions: Callable[..., pd.DataFrame]) -> dict[str, store.Entry]:
    """What was published of these with their usual settings, by name."""
    found = {f.__name__: store.find(store.spec(f), paths.PUBLISHED) for f in functions}
    return {name: entry for name, entry in found.items() if entry}


def _speed() -> str:
    """What was published of `qbench.speed` with its usual settings, the machine in front."""
    found = _entries(*SPEED)
    if not found:
        return "No speed has been published yet; `make bench` measures it.\n"
    parts = [f"{place}\n" for place in dict.fromkeys(map(_measured_on, found.values()))]
    tables = {name: entry.table() for name, entry in found.items()}
    if "sweep_step" in found:
        asked = found["sweep_step"].spec["parameters"]
        parts.append(_ratios(speed_tables.ratios(tables["sweep_step"]), asked))
    if "sweep_scaling" in found:
        asked = found["sweep_scaling"].spec["parameters"]
        parts.append(_costs(speed_tables.costs(tables["sweep_scaling"]), asked))
    if len(found) == len(SPEED):
        compared = speed_tables.targets(*(tables[f.__name__] for f in SPEED))
        parts.append(_table(compared, "What the sweep was to reach, and what was measured"))
    return "\n".join(parts)


def _accuracy() -> str:
    """What was published of `beside_brevitas.trainings` with its usual settings."""
    from qbench.studies import beside_brevitas  # needs torch and scipy, the other pages do not

    found = _entries(beside_brevitas.trainings).get("trainings")
    if not found:
        return "Not published yet.\n"
    table, asked = found.table(), found.spec["parameters"]
    apart = beside_brevitas.told_apart(table)
    rows = beside_brevitas.differences(table)
    shown = pd.DataFrame(
        {
            "configurations": rows["configurations"].replace(
                {"all": f"all {len(apart)}"}
                | {f"W{bits}": f"{bits}-bit weights" for bits in asked["weight_bits"]}
                | {f"A{bits}": f"{bits}-bit activations" for bits in asked["act_bits"]}
            ),
            "Brevitas (%)": rows["brevitas"],
            "fused sweep (%)": rows["fused"],
            "difference (points)": rows["difference"],
            "95 % interval": [
                f"{mean - half:+.2f} to {mean + half:+.2f}".replace("-", "−")
                for mean, half in zip(rows["difference"], rows["half_width"], strict=True)
            ],
            "p": rows["p"],
        }
    )
    formats = {"Brevitas (%)": ".2f", "fused sweep (%)": ".2f", "difference (points)": "+.2f"}
    caption = (
        f"Mean test error after {asked['epochs']} epochs on {words.dataset(asked['dataset'])}, "
        f"{len(asked['seeds'])} seeds; a configuration's two trainings are told apart in "
        f"{apart.sum()} of {len(apart)} cases"
    )
    return f"{_measured_on(found)}\n\n" + _table(shown, caption, formats | {"p": ".2f"})


def _students() -> str:
    """What was published of `speed_distillation` with its usual settings, the machine in front."""
    shown = {"student_epoch": _student_epoch, "students_together": _students_together}
    found = _entries(*(getattr(students, name) for name in shown))
    parts = [f"{place}\n" for place in dict.fromkeys(map(_measured_on, found.values()))]
    parts += [show(found[name]) for name, show in shown.items() if name in found]
    return "\n".join(parts) or "Not published yet; `make bench` measures it.\n"


def _student_epoch(entry: store.Entry) -> str:
    found, asked = students.beside(entry.table()), entry.spec["parameters"]
    table = pd.DataFrame(
        {
            "training loop": found["contender"],
            "threads": found["threads"],
            "seconds": found["seconds"],
            "times the plain loop": found["times"],
            "quartiles": _quartiles(found, "times", ".2f"),
            "its best": found["best"].map({True: "yes", False: ""}),
        }
    )
    caption = (
        f"One epoch of {asked['images']:,} images, {asked['batch_size']} a batch; medians of "
        f"{asked['rounds']} rounds"
    )
    return _table(table, caption, {"seconds": ".2f", "times the plain loop": ".2f"})


def _students_together(entry: store.Entry) -> str:
    found, asked = students.together(entry.table()), entry.spec["parameters"]
    table = pd.DataFrame(
        {
            "students": found["way"],
            "at once": found["students"],
            "processes": found["processes"],
            "threads of each": found["threads"],
            "images/s in all": found["images_per_second"],
            "times one after another": found["times"],
            "quartiles": _quartiles(found, "times", ".2f"),
        }
    )
    caption = (
        f"Several students of one shape, {asked['batch_size']} images a batch; medians of "
        f"{asked['rounds']} rounds"
    )
    return _table(table, caption, {"images/s in all": ",.0f", "times one after another": ".2f"})


def _rounding() -> str:
    """What was published of `speed_rounding` with its usual settings, the machine in front."""
    entries = _entries(rounding.perceptron_step).values()
    for entry in entries:
        found, asked = rounding.beside(entry.table()), entry.spec["parameters"]
        shown = pd.DataFrame(
            {
                "trained with": found["contender"],
                "networks at once": found["students"],
                "threads": found["threads"],
                "images/s in all": found["images_per_second"],
                "times PyTorch's best": found["times"],
                "quartiles": _quartiles(found, "times", ".2f"),
            }
        )
        caption = (
            f"KL_MLP_Student at {asked['bits']} bits, {asked['batch_size']} images a batch; "
            f"medians of {asked['rounds']} rounds"
        )
        formats = {"images/s in all": ",.0f", "times PyTorch's best": ".2f"}
        return f"{_measured_on(entry)}\n\n" + _table(shown, caption, formats)
    return "Not published yet; `make bench` measures it.\n"


def _waits() -> str:
    """What was published of `speed_waits` with its usual settings, the machines in front."""
    found = _entries(
        waits.started, waits.looked_up, waits.enumerated, waits.generations, waits.opened
    )
    if not found:
        return "Not published yet; `make bench` measures it.\n"
    summed = waits.summed_up({name: entry.table() for name, entry in found.items()})
    shown = pd.DataFrame(
        {
            "what": summed["what"],
            "took": [f"{took:,.0f}" if took >= 1000 else f"{took:.3g}" for took in summed["took"]],
            "unit": summed["unit"],
            "aim": summed["aim"],
            "met": summed["met"].map({True: "yes", False: "no"}).fillna(""),
        }
    )
    places = "".join(f"{place}\n\n" for place in dict.fromkeys(map(_measured_on, found.values())))
    return places + _table(shown, "What is waited for; medians where there were several rounds")


def _faults() -> str:
    """What was published of `qbench.faults.suite`, the machine in front."""
    for entry in _entries(faults.suite).values():
        found = entry.table().rename(columns={"injected": "how", "times": "how often"})
        injected = int((found["how often"] > 0).sum())
        caption = f"{injected} faults, injected {found['how often'].sum():,} times in all"
        return f"{_measured_on(entry)}\n\n" + _table(found, caption)
    return "Not published yet; `python -m qbench.faults` makes it.\n"


def _parameters() -> str:
    """A table a chapter, of what may be set with `-p`."""
    parts = []
    for chapter in chapters.all_chapters():
        rows = [
            {
                "parameter": name,
                "meaning": meaning,
                "allowed": allowed,
                "default": _written(default),
            }
            for name, allowed, default, meaning in parameters.describe(chapter.name)
        ]
        title = f"{int(chapter.name[:2])} · {chapter.title}"
        parts.append(f"## {title}\n")
        parts.append(_table(pd.DataFrame(rows), f"Parameters of {chapter.name}"))
    return "\n".join(parts)


def _written(value: object) -> str:
    """As it would be typed behind `-p`."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _measured_on(entry: store.Entry) -> str:
    record = entry.record
    machine, versions = record["machine"], record["versions"]
    return (
        f"Measured on {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB of memory, with PyTorch {versions['torch']} and Brevitas "
        f"{versions['brevitas']}, on {record['date'][:10]} at commit {record['commit'] or '—'}."
    )


def _ratios(found: pd.DataFrame, asked: store.Spec) -> str:
    models = len(asked["weight_bits"]) * len(asked["act_bits"])
    shown = pd.DataFrame(
        {
            "contender": found["contender"],
            "JIT": found["jit"],
            "threads": found["threads"],
            "ms": found["ms"],
            "quartiles": _quartiles(found),
            "times the fused sweep": found["times"],
            "with as many threads": found["times_same_threads"],
            "its best": found["best"].map({True: "yes", False: ""}),
        }
    )
    formats = {"ms": ",.1f", "times the fused sweep": ".2f", "with as many threads": ".2f"}
    caption = (
        f"One training step of all {models} configurations, {asked['hidden']} neurons a hidden "
        f"layer, {asked['batch_size']} images a batch; medians of {asked['rounds']} rounds"
    )
    return _table(shown, caption, formats)


def _costs(found: pd.DataFrame, asked: store.Spec) -> str:
    shown = pd.DataFrame(
        {
            "members": found["members"],
            "hidden width": found["hidden"],
            "ms": found["ms"],
            "quartiles": _quartiles(found),
            "ms a member": found["ms_member"],
            "GFLOP": found["gflop"],
            "GFLOP/s": found["gflops"],
            "share of the peak": found["peak_share"],
        }
    )
    formats = {"ms": ",.1f", "ms a member": ".3f", "GFLOP": ".3f", "GFLOP/s": ".1f"}
    formats |= {"share of the peak": "{:.0f} %"}
    caption = (
        f"One step of the fused sweep against its size, {asked['threads']} threads; medians of "
        f"{asked['rounds']} rounds"
    )
    return _table(shown, caption, formats)


def _quartiles(found: pd.DataFrame, name: str = "ms", places: str = ",.1f") -> list[str]:
    pairs = zip(found[f"{name}_low"], found[f"{name}_high"], strict=True)
    return [f"{low:{places}}–{high:{places}}" for low, high in pairs]
