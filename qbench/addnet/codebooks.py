"""Coefficient sets: the published ones, and how a specification writes a set.

A set is a sorted row of whole numbers wherever it is used. In a specification it is text: the name
of a set of the thesis, or its coefficients with blanks between them.
"""

from functools import cache

from numpy.typing import ArrayLike

from qbench import reference
from qbench.errors import nearest
from qbench.quantizers.codebook import checked
from qbench.quantizers.errors import QuantiserError

from .errors import AddnetError

FARAONE = "faraone2021"
OUTER = "4-Add"  # of the first and the last layer, sections 6.6.3 and 6.7.5

Coefficients = tuple[int, ...]


@cache
def published() -> dict[str, Coefficients]:
    """The sets that the thesis prints: those of Table 6.2 and "unoptimised", of Fig. 6.5 (e).

    The last has 63 coefficients, so it is none of a 2-Add, as Table 6.4 says, but of a 3-Add: see
    the errata. Magnitudes occur with both signs.
    """
    table = reference.load(FARAONE, "table_6_2").rename(columns={"rccm": "set"})
    figure = reference.load(FARAONE, "figure_6_5")
    found: dict[str, set[int]] = {}
    for rows in (table, figure):
        rows = rows[rows["quantity"] == "coefficient_magnitude"]
        for name, value in zip(rows["set"], rows["value"], strict=True):
            found.setdefault(name, set()).update((int(value), -int(value)))
    return {name: tuple(sorted(values)) for name, values in found.items()}


def written(codebook: str | ArrayLike) -> str:
    """A set as text: its name if the thesis prints it, else its coefficients, as `read` takes them.

    Raises `AddnetError` as `read`.
    """
    found = read(codebook)
    names = {coefficients: name for name, coefficients in published().items()}
    return names.get(found) or " ".join(map(str, found))


def read(codebook: str | ArrayLike) -> Coefficients:
    """The coefficients of a set: of a name, of text, or of a sorted row of whole numbers.

    Raises `AddnetError` for another name, and for a set that `quantizers.codebook.checked` refuses.
    """
    if isinstance(codebook, str) and codebook in published():
        return published()[codebook]
    row: ArrayLike = codebook
    if isinstance(codebook, str):
        try:
            row = [int(part) for part in codebook.split()]
        except ValueError:
            raise AddnetError(
                f"codebook must be {', '.join(published())} or whole numbers with blanks between "
                f"them, not {codebook!r}{nearest(published(), codebook)}."
            ) from None
    try:
        return checked(row)
    except QuantiserError as error:  # a sentence that fits here as well
        raise AddnetError(str(error)) from None
