"""Tables and figures of chapter 14: Tables 7.1 to 7.3 beside ours, curves, kernels, accuracy."""

import math
from collections.abc import Iterable
from typing import Any

import pandas as pd

from qbench import reference
from qbench.parameters import Devices
from qbench.runtimes import backends, energy, machine

from . import dpu
from .devices import PLAIN, Found, cores, title, with_energy

VAILAKIS = dpu.VAILAKIS
TABLES = {"densenet21": "table_7_1", "densenet37": "table_7_2", "densenet63": "table_7_3"}
OURS_FIRST = ("CPU, PyTorch eager", "CPU, best float32", "QCPU, best int8", "GPU, best")
QUANTITIES = {  # the thesis' rows: quantity, operating point
    "images/s": ("throughput", "best_throughput"),
    "throughput speed-up": ("throughput_speedup", "best_throughput"),
    "latency (ms)": ("latency", "best_latency"),
    "latency speed-up": ("latency_speedup", "best_latency"),
    "mJ/image, best latency": ("energy_per_image", "best_latency"),
    "efficiency, best latency": ("energy_efficiency", "best_latency"),
    "mJ/image, best throughput": ("energy_per_image", "best_throughput"),
    "efficiency, best throughput": ("energy_efficiency", "best_throughput"),
}
SPEED = tuple(name for name in QUANTITIES if "mJ" not in name and "efficiency" not in name)
ENERGY = tuple(name for name in QUANTITIES if name not in SPEED)
MODEL = "DPU, by the model"
PRINTED = "DPU, as printed"


def of_group(speeds: pd.DataFrame, group: str) -> pd.DataFrame:
    """The rows of a column of Tables 7.1 to 7.3.

    `CPU` is what the thesis has in it: the original form in plain PyTorch and float32; the best
    float32 is that of any runtime and form on the processor, the best int8 likewise.
    """
    cpu, whole = speeds["device"] == "cpu", speeds["precision"] == "int8"
    plain = speeds["runtime"] == PLAIN
    chosen = {
        "CPU, PyTorch eager": cpu & plain & (speeds["precision"] == "float32"),
        "CPU, best float32": cpu & (speeds["precision"] == "float32"),
        "QCPU, best int8": cpu & whole,
        "GPU, best": ~cpu,
    }[group]
    found = speeds[chosen]
    return found[found["form"] == "original"] if group == "CPU, PyTorch eager" else found


def best(speeds: pd.DataFrame) -> tuple[pd.Series | None, pd.Series | None]:
    """The rows with the least latency for one image, and with the highest throughput."""
    single = speeds[speeds["batch"] == 1]
    quick = single.loc[single["ms"].idxmin()] if len(single) else None
    return quick, speeds.loc[speeds["images_per_second"].idxmax()] if len(speeds) else None


def how(row: pd.Series | None) -> str:
    """A row's backend and setting in a few words."""
    if row is None:
        return ""
    name = backends.RUNTIMES[row["runtime"]]
    at = "" if row["batch"] == 1 else f", batch {row['batch']}"
    threads = f", {row['threads']} threads" if row["threads"] > 1 else ", 1 thread"
    kind = row["precision"] if row["precision"] not in ("float32", "int8") else ""
    words = ", ".join(filter(None, [name, kind, row["form"]]))
    return words + at + (threads if row["device"] == "cpu" else "")


def comparison(found: Found, network: str, p: Devices) -> pd.DataFrame:
    """Table 7.1, 7.2 or 7.3 as printed, ours, and the DPU's model: a row a platform.

    Columns: `whose` (thesis, measured, printed, model), `platform` and those of `QUANTITIES`, each
    speed-up and efficiency relative to the float32 CPU in plain PyTorch of the same measurement.
    `printed` is the thesis' DPU relative to our CPU, `model` that of the cycles likewise. Energy on
    one device at one unknown power leaves the ratio known, as time's.
    """
    rows = [*_printed(network)]
    speeds = with_energy(found.speeds[found.speeds["network"] == network], p)
    ours = [_of_ours(speeds, group, found) for group in OURS_FIRST]
    base = ours[0]
    for row in ours:
        rows.append(_relative(row, base, same=row["platform"].startswith(("CPU", "QCPU"))))
    dpus = [
        {**row, "whose": "printed", "platform": PRINTED} for row in rows if row["platform"] == "DPU"
    ]
    rows += [_relative(row, base, same=False) for row in (*dpus, _of_model(network))]
    columns = ["whose", "platform", *QUANTITIES, "how"]
    return pd.DataFrame(rows).reindex(columns=columns)


def _printed(network: str) -> Iterable[dict[str, Any]]:
    if network not in TABLES:
        return
    table = reference.load(VAILAKIS, TABLES[network])
    for platform, rows in table.groupby("platform", sort=False):
        values = rows.set_index(["quantity", "operating_point"])["value"].astype(float)
        yield {"whose": "thesis", "platform": platform, "how": rows["device"].iloc[0]} | {
            name: values[key] for name, key in QUANTITIES.items()
        }


def _of_ours(speeds: pd.DataFrame, group: str, found: Found) -> dict[str, Any]:
    row: dict[str, Any] = {"whose": "measured", "platform": group}
    quick, many = best(of_group(speeds, group))
    if many is None:
        return row | {"how": _why_missing(group, found)}
    row["images/s"], said = many["images_per_second"], how(many)
    row["mJ/image, best throughput"] = 1e3 * many["joules"]
    if quick is not None:
        row["latency (ms)"] = quick["ms"]
        row["mJ/image, best latency"] = 1e3 * quick["joules"]
        said = f"{said}; latency: {how(quick)}"
    return row | {"how": said}


def _why_missing(group: str, found: Found) -> str:
    """What the machine that measured lacks for a column, or that it was not asked for."""
    checks = found.checks
    rows = checks[checks["device"] == ("cuda" if group.startswith("GPU") else "cpu")]
    if not group.startswith("GPU"):
        kind = "int8" if group.startswith("QCPU") else "float32"
        rows = rows[rows["precision"] == kind]
    return rows["missing"].iloc[0] if len(rows) else "not asked for"


def _of_model(network: str) -> dict[str, Any]:
    [one] = dpu.speeds(networks=[title(network)]).itertuples()
    return {
        "whose": "model",
        "platform": MODEL,
        "images/s": one.images_per_second,
        "latency (ms)": one.latency_ms,
        "mJ/image, best latency": dpu.power() * one.latency_ms,
        "mJ/image, best throughput": 1e3 * dpu.power() / one.images_per_second,
        "how": "cycles of the multipliers alone, power of Table 6.10",
    }


def _relative(row: dict[str, Any], base: dict[str, Any], *, same: bool) -> dict[str, Any]:
    """With the thesis' normalisation; `same`: on the base's device, whose power cancels."""

    def ratio(first: float | None, second: float | None) -> float:
        known = all(value is not None and not math.isnan(value) for value in (first, second))
        return first / second if known and second else math.nan

    rates = ratio(row.get("images/s"), base.get("images/s"))
    times = ratio(base.get("latency (ms)"), row.get("latency (ms)"))
    row |= {"throughput speed-up": rates, "latency speed-up": times}
    for point, speed_up in (("best latency", times), ("best throughput", rates)):
        efficiency = ratio(base.get(f"mJ/image, {point}"), row.get(f"mJ/image, {point}"))
        by_time = math.isnan(efficiency) and same
        row[f"efficiency, {point}"] = speed_up if by_time else efficiency
    return row


def named(speeds: pd.DataFrame) -> pd.DataFrame:
    """With `backend`, how a line of a figure is called: `OpenVINO, int8, 8 bits`."""
    words = speeds["runtime"].map(backends.RUNTIMES) + ", " + speeds["form"]
    words += speeds["precision"].map(lambda one: "" if one in ("float32", "int8") else f", {one}")
    words += speeds["device"].map({"cpu": "", "cuda": ", GPU"})
    return speeds.assign(backend=words, title=speeds["network"].map(title))


def over_batches(found: Found, p: Devices) -> pd.DataFrame:
    """Throughput, latency and energy over the batch size, each backend at its best threads.

    Columns: `title`, `backend`, `batch`, `threads`, `images_per_second`, `low_rate`, `high_rate`,
    `ms`, `low_ms`, `high_ms`, `millijoules` an image.
    """
    table = named(with_energy(found.speeds, p))
    rows = table.groupby(["title", "backend", "batch"], sort=False)["images_per_second"].idxmax()
    chosen = table.loc[rows].assign(millijoules=lambda one: 1e3 * one["joules"])
    columns = ["title", "backend", "batch", "threads", "images_per_second", "low_rate"]
    columns += ["high_rate", "ms", "low_ms", "high_ms", "millijoules"]
    return chosen[columns].reset_index(drop=True)


def break_even(found: Found) -> pd.DataFrame:
    """The power at which an image costs as much energy here as on the thesis' DPU: a row each.

    E = P · t is solved for P, t being the latency of an image or one over the throughput: eq. 7.4.
    Columns: `network`, `platform`, `operating point`, `time (ms)` of an image, `DPU (mJ)` as the
    thesis prints it, and `equal at (W)`. None for networks that it did not run.
    """
    rows = []
    for network, speeds in found.speeds.groupby("network", sort=False):
        printed = [one for one in _printed(str(network)) if one["platform"] == "DPU"]
        for group in OURS_FIRST:
            quick, many = best(of_group(speeds, group))
            times = {
                "best latency": math.nan if quick is None else float(quick["ms"]),
                "best throughput": math.nan if many is None else 1e3 / _rate(many),
            }
            for point, took in times.items():
                for one in printed if took == took else ():
                    energy = one[f"mJ/image, {point}"]
                    row = {"network": title(str(network)), "platform": group}
                    row |= {"operating point": point, "time (ms)": took, "DPU (mJ)": energy}
                    rows.append(row | {"equal at (W)": energy / took})
    columns = ["network", "platform", "operating point", "time (ms)", "DPU (mJ)", "equal at (W)"]
    return pd.DataFrame(rows, columns=columns)


def latencies(found: Found, network: str) -> pd.DataFrame:
    """One image a request: each backend with its best number of threads, quickest first."""
    speeds = found.speeds[found.speeds["network"] == network]
    single = named(speeds[speeds["batch"] == 1]).sort_values("ms", kind="stable")
    single = single.drop_duplicates("backend")
    return pd.DataFrame(
        {
            "backend": single["backend"],
            "threads": single["threads"],
            "median (ms)": single["ms"],
            "of rounds (ms)": _interval(single["low_ms"], single["high_ms"]),
            "p95 (ms)": single["p95_ms"],
            "p99 (ms)": single["p99_ms"],
            "outliers (%)": 100 * single["outliers"],
            "waited (%)": 100 * single["waited"],
        }
    ).reset_index(drop=True)


def repeated(found: Found) -> pd.DataFrame:
    """The second measurement beside the first, a row a network; none without a second one.

    Columns: `network`, `measured` (how many forms in backends with a batch size and a number of
    threads), `overlap` (% of them whose throughputs' rounds overlap), `difference` (%, of the
    second throughput from the first, median of the magnitudes) and `largest`.
    """
    if found.again is None:
        return pd.DataFrame()
    keys = ["network", "form", "runtime", "precision", "device", "batch", "threads"]
    both = found.speeds.merge(found.again, on=keys, suffixes=("", "_again"))
    low, high = both["low_rate"], both["high_rate"]
    both["overlap"] = (low <= both["high_rate_again"]) & (both["low_rate_again"] <= high)
    both["apart"] = 100 * (both["images_per_second_again"] / both["images_per_second"] - 1).abs()
    return pd.DataFrame(
        {
            "network": title(network),
            "measured": len(rows),
            "overlap": 100 * rows["overlap"].mean(),
            "difference": rows["apart"].median(),
            "largest": rows["apart"].max(),
        }
        for network, rows in both.groupby("network", sort=False)
    )


def _interval(low: pd.Series, high: pd.Series) -> list[str]:
    return [f"{a:.3g} to {b:.3g}" for a, b in zip(low, high, strict=True)]


def accuracies(found: Found) -> pd.DataFrame:
    """What each backend makes of the test images, beside the same network in PyTorch."""
    table = named(found.checks[found.checks["missing"] == ""])
    trained = table["trained"]
    return pd.DataFrame(
        {
            "network": table["title"],
            "backend": table["backend"],
            "accuracy (%)": table["accuracy"].where(trained),
            "PyTorch float32 (%)": table["reference"].where(trained),
            "other class than that": table["classes_differ"],
            "of images": table["images"],
            "largest difference of a logit (%)": 100 * table["difference"],
            "weights": trained.map({True: "trained", False: "new: no accuracy to speak of"}),
        }
    ).reset_index(drop=True)


def kernels(found: Found) -> pd.DataFrame:
    """What multiplied: kernels with integers of all that multiply, and their shares of the time."""
    table = named(found.checks[found.checks["missing"] == ""])
    return pd.DataFrame(
        {
            "network": table["title"],
            "backend": table["backend"],
            "integer kernels": table["integer"],
            "of kernels that multiply": table["multiplying"],
            "time in integer kernels (%)": table["integer_time"],
            "time that multiplies (%)": table["multiplying_time"],
            "kernels": table["names"],
        }
    ).reset_index(drop=True)


def offered(found: Found) -> pd.DataFrame:
    """Every backend that was asked for: whether it is on that machine, else what would bring it."""
    rows = found.checks.drop_duplicates(["runtime", "precision", "device"])
    names = [
        backends.Backend(one.runtime, one.precision, one.device).name for one in rows.itertuples()
    ]
    return pd.DataFrame({"backend": names, "there": rows["missing"].replace("", "yes").to_list()})


def about(found: Found, p: Devices) -> pd.DataFrame:
    """The machine that measured, and what it tells of its clock and its energy: `what`, `value`."""
    it = found.machine
    rows = {
        "processor": f"{it['processor']}, {it['cores']} cores",
        "instructions for networks": ", ".join(it["instructions"]) or "not told",
        "GPU": ", ".join(it["accelerators"]) or "none that PyTorch can use",
        "libraries": ", ".join(f"{name} {number}" for name, number in it["versions"].items()),
    }
    clock = found.speeds["mhz"]
    rows["clock while measuring"] = _span(clock)
    load = found.speeds["load"]
    rows["load while measuring"] = f"{load.min():.1f} to {load.max():.1f} processes"
    if found.here:
        rows["governor of the clock"] = machine.governor() or "not told"
        rows["virtual machine"] = "yes" if machine.virtual() else "not told"
        rows["energy, CPU"] = energy.meter("cpu", watts=p.watts).note
        if "cuda" in p.devices:
            rows["energy, GPU"] = energy.meter("cuda", watts=p.gpu_watts).note
        rows["threads measured"] = ", ".join(map(str, p.threads or cores()))
        if max(p.threads or [1]) > it["cores"]:
            rows["threads measured"] += f": more than {it['cores']} wait for each other"
    else:
        rows["energy"] = ", ".join(sorted(set(found.speeds["energy_by"])))
    return pd.DataFrame({"what": list(rows), "value": list(rows.values())})


def _span(clock: pd.Series) -> str:
    """From the lowest to the highest clock (MHz), one number where they are the same."""
    if clock.isna().all():
        return "not told"
    low, high = (f"{end:,.0f}" for end in (clock.min(), clock.max()))
    return f"{low} MHz" if low == high else f"{low} to {high} MHz"


def plain_beside_ours(found: Found) -> pd.DataFrame:
    """Best throughput and latency of plain PyTorch, of float32 and of int8, with their ratios."""
    rows = []
    for network, speeds in found.speeds.groupby("network", sort=False):
        groups = {group: best(of_group(speeds, group)) for group in OURS_FIRST[:3]}
        (plain_ms, plain), (float_ms, floats), (int_ms, ints) = groups.values()
        rows.append(
            {
                "network": title(network),
                "PyTorch eager (images/s)": _rate(plain),
                "best float32 (images/s)": _rate(floats),
                "float32 / eager": _over(_rate(floats), _rate(plain)),
                "best int8 (images/s)": _rate(ints),
                "int8 / float32": _over(_rate(ints), _rate(floats)),
                "int8 / float32, latency": _over(_ms(float_ms), _ms(int_ms)),
                "int8 by": _both(ints, int_ms),
            }
        )
    return pd.DataFrame(rows)


def _both(many: pd.Series | None, quick: pd.Series | None) -> str:
    """What a throughput and a latency were measured with."""
    parts = {"throughput": how(many), "latency": how(quick)}
    return "; ".join(f"{name}: {words}" for name, words in parts.items() if words)


def _rate(row: pd.Series | None) -> float:
    return math.nan if row is None else float(row["images_per_second"])


def _ms(row: pd.Series | None) -> float:
    return math.nan if row is None else float(row["ms"])


def _over(first: float, second: float) -> float:
    return first / second
