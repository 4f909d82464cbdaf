"""What tests of stored trainings of the small networks share."""

from functools import cache

from qbench import data
from qbench.data import Dataset, Split


@cache
def few() -> Dataset:
    """30 digits of each part."""
    digits = data.load("mnist5k", size=32, normalise="standard", subset=40)
    parts = (digits.train, digits.valid, digits.test)
    cut = [Split(part.images[:30], part.labels[:30]) for part in parts]
    return Dataset(digits.name, digits.classes, *cut)
