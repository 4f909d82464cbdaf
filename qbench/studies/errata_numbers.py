"""Printed numbers and what they can be rounded from."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DIGITS = re.compile(r"\d[\d,]*(?:\.\d+)?|\.\d+")


@dataclass(frozen=True)
class Number:
    """A printed number: `step` is one in its last printed digit (0: it is exact)."""

    value: float
    step: float
    printed: str

    @property
    def low(self) -> float:
        return self.value - self.step / 2

    @property
    def high(self) -> float:
        return self.value + self.step / 2


def number(row: Mapping[str, Any]) -> Number | None:
    """The number of a row of `reference`, or None where it has none.

    The last digit is that of the printed characters: 96,5334 and 6 k are as precise as they look.
    """
    try:
        value = float(row["value"])
    except (TypeError, ValueError):
        return None
    if value != value:
        return None
    return Number(value, _step(value, str(row["printed"])), str(row["printed"]))


def _step(value: float, printed: str) -> float:
    """One in the last printed digit, by the printed characters that mean `value`."""
    for text in DIGITS.findall(printed):
        plain = text.replace(",", "").rstrip(".")
        for factor in (1.0, 1e3, 1e6, 1e9):
            if abs(float(plain) * factor - abs(value)) <= 1e-9 * max(1.0, abs(value)):
                return factor * 10.0 ** -len(plain.partition(".")[2])
    return 0.0  # in words, or mended: exact


def agrees(printed: Number, low: float, high: float) -> bool:
    """Whether something between `low` and `high` gives the printed digits, rounded or cut off."""
    slack = 1e-9 * max(1.0, abs(printed.value))
    least = printed.value - printed.step / 2 - slack
    most = printed.value + printed.step - (0 if printed.step == 0 else slack) + slack
    return low <= most and high >= least
