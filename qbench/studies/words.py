"""Words that the sentences of several pages need: plurals, places, names, runs of numbers."""

import re
from collections.abc import Iterable

from qbench.data import specs

#: Where thresholds, weights or multipliers of a unit are, by the values of the parameters.
PLACES = {"none": "not counted", "lut": "in LUTs", "bram": "in block RAM", "dsp": "in DSP blocks"}


def counted(number: int, noun: str) -> str:
    """`1 seed`, `3 seeds`, `2,000 images`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def dataset(name: str) -> str:
    """A data set as publications write it: `mnist` → `MNIST`; a part of one keeps its own name."""
    written = re.split(r"[ ,]", specs.find(name).title)[0]
    return written if written.lower().replace("-", "") == name.replace("-", "") else name


def layer(name: str) -> str:
    """A layer as a table names it: `linear2` → `layer 2`."""
    return re.sub(r"^linear(\d+)$", r"layer \1", name)


def listed(parts: Iterable[object]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *most, last = map(str, parts)
    return f"{', '.join(most)} and {last}" if most else last


def together(numbers: Iterable[int]) -> str:
    """Whole numbers in ascending order: `3 to 8`, `1, 3 and 4`, `2`."""
    found = sorted(set(numbers))
    if len(found) > 2 and found[-1] - found[0] == len(found) - 1:
        return f"{found[0]} to {found[-1]}"
    return listed(found)
