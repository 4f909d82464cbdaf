"""Chapter 14: what its measurements show, in words that follow them."""

import math
from dataclasses import replace

from qbench.parameters import Devices
from qbench.runtimes.backends import RUNTIMES
from qbench.runtimes.machine import INTEGER_SUMS

from .devices import Found, title
from .devices_claims import FLOAT, INT
from .devices_tables import best, of_group, over_batches, plain_beside_ours, repeated
from .words import counted, listed

BUSY = 0.05  # share of the time waited for a processor, from which on a machine was busy


def _quicker(ratio: float) -> str:
    """How much quicker int8 is with one image; empty where no single image was timed."""
    if math.isnan(ratio):
        return ""
    return f"With one image the best int8 is {ratio:.2f} times as quick as the best float32. "


def _why_not_more(found: Found) -> list[str]:
    """Where the time of the best float32 and the best int8 goes, by the runtimes' own profiles."""
    keys = ["form", "runtime", "precision", "device"]
    lines = []
    for network, speeds in found.speeds.groupby("network", sort=False):
        rows = found.checks[found.checks["network"] == network].set_index(keys).sort_index()
        parts = []
        for group in (FLOAT, INT):
            _, many = best(of_group(speeds, group))
            place = None if many is None else tuple(many[keys])
            if place is None or place not in rows.index:
                break
            share = float(rows.loc[place, "multiplying_time"]) / 100
            took = 1e3 / many["images_per_second"]
            parts.append((share * took, (1 - share) * took))
        if len(parts) < 2 or any(map(math.isnan, (*parts[0], *parts[1]))):
            continue
        (many, rest), (few, still) = parts
        lines.append(
            f"{title(network)} multiplies for {many:.2f} ms an image in float32 and {few:.2f} in "
            f"int8, and does other things for {rest:.2f} and {still:.2f}"
        )
    if not lines:
        return []
    sums = set(found.machine["instructions"]) & set(INTEGER_SUMS)
    has = f"has {', '.join(sorted(sums))}" if sums else "has none of these"
    return [
        "* Int8 was to have twice the throughput of float32 on a processor that sums products of "
        f"integers ({', '.join(INTEGER_SUMS)}); the one that measured {has}. At the best "
        f"throughputs, split as the runtimes' profiles are: {'; '.join(lines)}."
    ]


def _busy(found: Found) -> list[str]:
    """Which networks were timed while the machine had other work, by the number of threads."""
    waited = found.speeds.groupby(["network", "threads"], sort=False)["waited"].median()
    waited = waited[waited > BUSY]
    if waited.empty:
        return []
    words = ", ".join(
        f"{title(name)} with {counted(threads, 'thread')} {100 * share:.0f} %"
        for (name, threads), share in waited.items()
    )
    return [
        "* The machine was busy: a thread that had work waited for a processor, as a share of the "
        f"time in the median: {words}. Ratios of what took turns mean more than times."
    ]


def lessons(found: Found, p: Devices) -> str:
    """What these measurements say, as a Markdown list."""
    lines = []
    checks = found.checks[found.checks["missing"] == ""]
    for row in plain_beside_ours(found).to_dict("records"):
        if math.isnan(row["float32 / eager"]):
            continue
        rest = "; no int8 was measured."
        if not math.isnan(row["int8 / float32"]):
            rest = f", and the best int8 {row['int8 / float32']:.2f} times that of best float32. "
            rest += f"{_quicker(row['int8 / float32, latency'])}Int8 by {row['int8 by']}."
        lines.append(
            f"* {row['network']}: the best float32 has {row['float32 / eager']:.2f} times the "
            f"throughput of plain PyTorch{rest}"
        )
    lines += _why_not_more(found)
    whole = checks[checks["precision"] == "int8"]
    if len(whole):
        none = whole[whole["integer"] < whole["multiplying"]]
        names = sorted({f"{RUNTIMES[one.runtime]} with “{one.form}”" for one in none.itertuples()})
        lines.append(
            "* A file of 8 bits is not always computed with integers: "
            + (f"not everything was by {', '.join(names)}." if names else "here all of them were.")
        )
        known = whole[whole["trained"]]
        if len(known):
            worst = (known["reference"] - known["accuracy"]).max()
            names = [title(name) for name in known["network"].unique()]
            lines.append(
                f"* With 8 bits in the place of float32, {listed(names)}: {worst:.2f} points less "
                f"accuracy at most, on {int(known['images'].max()):,} test images."
            )
    lines += _busy(found)
    rows = over_batches(found, p)
    spread = (rows["high_rate"] - rows["low_rate"]) / rows["images_per_second"]
    if p.rounds > 1:
        lines.append(
            f"* The lowest and the highest round of a throughput are {100 * spread.median():.0f} % "
            f"of it apart in the median, {100 * spread.max():.0f} % at most: smaller differences "
            "are none."
        )
    return "\n".join([*lines, *_told_again(found)])


def _told_again(found: Found) -> list[str]:
    """What a second measurement says, a line a network; nothing without one."""
    if found.again is None:
        return []
    later = plain_beside_ours(replace(found, speeds=found.again)).set_index("network")
    lines = []
    for one in repeated(found).itertuples():
        ratios = later.loc[one.network, ["float32 / eager", "int8 / float32"]].dropna()
        words = ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items())
        lines.append(
            f"* {one.network} once more: {one.measured} throughputs, {one.difference:.1f} % from "
            f"the first in the median, {one.largest:.0f} % at most; rounds overlap for "
            f"{one.overlap:.0f} %" + (f"; best throughputs: {words}." if words else ".")
        )
    return lines
