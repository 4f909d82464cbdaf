"""Reconfigurable multipliers made of adders: the RCCMs of Faraone 2021, Section 6.4.

An RCCM gives c·x for an input x and one coefficient c of a small set, which two select bits an
adder choose. Each adder takes the place of an ordinary one, its multiplexers included
(Section 6.4.2), in one of two base topologies (Fig. 6.2):

- A: ±A_p + B1 with A_p one of three inputs or 0; six inputs a bit, a whole look-up table;
- B: ±A_p ± B_q with A_p one of two inputs or 0 and B_q one or 0; five inputs a bit, so that the
  second output of the table can negate or clear B1. Not both terms are negative: an adder has one
  carry in.

Each port shifts its input to the left by a fixed number of bits. Three architectures have been
chosen (Fig. 6.4), of Topology A with Topology B at the end:

    2-Add  y = A_I(x, x)                                                     B(y, x)
    3-Add  y1 = A_I(x, x), y2 = A_II(x, x)                                   B(y1, y2)
    4-Add  y1 = A_I(x, x), y2 = A_II(x, x), y3 = A_III(y1, y2)               B(y3, x)

with (source of the A ports, source of B1) in brackets. The figure is not in the text at hand: the
wiring is the only feed-forward one whose configurations of Table 6.3 give the sets of Table 6.2,
once the minus sign that Topology B lost in print is back (`errata.csv`, topology_b_2add to _4add).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qbench import reference
from qbench.errors import nearest

from .errors import HardwareError
from .mvtu import single

Integers = NDArray[np.int64]
WIRING = {  # per adder, from input to output: whence A and B1, 0 being x and n the n-th adder
    "2-Add": ((0, 0), (1, 0)),
    "3-Add": ((0, 0), (0, 0), (1, 2)),
    "4-Add": ((0, 0), (0, 0), (1, 2), (3, 0)),
}
PORTS = {"A": ("A1", "A2", "A3", "B1"), "B": ("A1", "A2", "B1")}
MOST_SHIFT = 15  # bits; the thesis stays at 3 or below
SLIP = {"A2+B1": "-A2+B1"}  # Topology B in Table 6.3, as printed and as it must be
OPERATION = re.compile(r"(?:(-?)(A[123]))?(?:([+-]?)(B1))?")


@dataclass(frozen=True)
class Adder:
    """One base topology: what each select value 0 … 3 computes, and by how much each port shifts.

    `operations` are four such as "A1+B1", "-A2+B1" or "B1"; `shifts` belong to the ports A1, A2,
    A3, B1 of Topology A or A1, A2, B1 of B, in bits. Raises `HardwareError` for what the topology
    cannot do.
    """

    topology: str
    operations: tuple[str, ...]
    shifts: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.topology not in PORTS:
            raise HardwareError(f"topology must be 'A' or 'B', not {self.topology!r}.")
        ports = PORTS[self.topology]
        for name, wanted in (("operations", 4), ("shifts", len(ports))):
            found = getattr(self, name)
            if isinstance(found, str) or not isinstance(found, Sequence) or len(found) != wanted:
                raise HardwareError(
                    f"Topology {self.topology} has {wanted} {name}, and these are {found!r}."
                )
        for shift in self.shifts:
            single("a shift", shift, least=0, most=MOST_SHIFT)
        object.__setattr__(self, "operations", tuple(self.operations))
        object.__setattr__(self, "shifts", tuple(int(shift) for shift in self.shifts))
        for operation in self.operations:
            _terms(self.topology, operation)

    @cached_property
    def terms(self) -> Integers:
        """What each select value does: (4, ports), −1, 0 or 1 of each port."""
        ports = PORTS[self.topology]
        found = np.zeros((4, len(ports)), dtype=np.int64)
        for select, operation in enumerate(self.operations):
            for port, sign in _terms(self.topology, operation).items():
                found[select, ports.index(port)] = sign
        return found

    @cached_property
    def factors(self) -> Integers:
        """(4, 2): by what each select value multiplies the source of A and that of B1."""
        weighted = self.terms << np.array(self.shifts)
        return np.stack([weighted[:, :-1].sum(1), weighted[:, -1]], axis=1)


@dataclass(frozen=True)
class Circuit:
    """An RCCM: its architecture and its adders, from input to output.

    The select value of the first adder is the lowest two bits of the circuit's. Raises
    `HardwareError` for an unknown architecture and for adders that do not fit it.
    """

    architecture: str
    adders: tuple[Adder, ...]

    def __post_init__(self) -> None:
        wanted = "A" * (len(wiring(self.architecture)) - 1) + "B"
        found = "".join(adder.topology for adder in self.adders)
        if found != wanted:
            raise HardwareError(
                f"a {self.architecture} has the topologies {', '.join(wanted)}, and these are "
                f"{', '.join(found) or 'none'}."
            )
        object.__setattr__(self, "adders", tuple(self.adders))

    @property
    def select_bits(self) -> int:
        """Bits that choose the coefficient: w_s of Table 6.1."""
        return 2 * len(self.adders)

    @cached_property
    def levels(self) -> tuple[Integers, ...]:
        """What each adder multiplies x by, for each of the 2^select_bits select values."""
        selects = np.arange(2**self.select_bits)
        return tuple(self._evaluate(np.ones_like(selects), selects)[1:])

    @property
    def coefficients(self) -> Integers:
        """The coefficient of each select value, (2^select_bits,); some occur more than once."""
        return self.levels[-1]

    @property
    def codebook(self) -> Integers:
        """The coefficients there are, ascending, each once."""
        return np.unique(self.coefficients)

    def multiply(self, x: ArrayLike, select: ArrayLike) -> Integers:
        """Coefficient × input, adder by adder as the circuit does it; the two are broadcast."""
        return self._evaluate(*np.broadcast_arrays(np.asarray(x, np.int64), select))[-1]

    def _evaluate(self, x: Integers, select: Integers) -> list[Integers]:
        """x and what each adder gives."""
        values = [x]
        for place, (adder, sources) in enumerate(
            zip(self.adders, wiring(self.architecture), strict=True)
        ):
            factors = adder.factors[select >> 2 * place & 3]
            values.append(sum(factors[..., port] * values[of] for port, of in enumerate(sources)))
        return values


def wiring(architecture: str) -> tuple[tuple[int, int], ...]:
    """`WIRING` of an architecture; `HardwareError` for one that there is not."""
    if architecture not in WIRING:
        raise HardwareError(
            f"architecture must be one of {', '.join(WIRING)}, not {architecture!r}"
            f"{nearest(WIRING, architecture)}."
        )
    return WIRING[architecture]


def published(architecture: str, *, as_printed: bool = False) -> Circuit:
    """The circuit of Table 6.3, whose coefficients are those of Table 6.2.

    `as_printed` leaves out the minus sign that Topology B lost in print; the set is then another.
    Raises `HardwareError` for an unknown architecture.
    """
    wiring(architecture)
    rows = reference.load("faraone2021", "table_6_3")
    rows = rows[(rows["rccm"] == architecture) & (rows["value"] != "")]
    adders = []
    for (topology, _), part in rows.groupby(["topology", "instance"], sort=False):
        stated = part[part["quantity"] == "operation"].sort_values("select")["value"]
        mend = {} if as_printed or topology == "A" else SLIP
        shifts = part[part["quantity"] == "shift"].sort_values("shift_input")["value"]
        operations = tuple(mend.get(one, one) for one in stated)
        adders.append(Adder(topology, operations, tuple(map(int, shifts))))
    return Circuit(architecture, tuple(adders))


def check_codebook(values: ArrayLike) -> Integers:
    """Coefficients as a codebook: whole numbers, ascending, each once.

    Raises `HardwareError` for none, for what is no whole number, and for a set without zero, as the
    thesis selects only sets that include it (Section 6.5.1).
    """
    try:
        found = np.asarray(values)
    except ValueError:  # rows of several lengths
        found = np.empty(0)
    if found.ndim != 1 or not len(found) or found.dtype.kind not in "iu":
        raise HardwareError("a codebook must be one or more whole numbers, in a row.")
    found = np.unique(found.astype(np.int64))
    if 0 not in found:
        nearest_zero = found[np.abs(found).argmin()]
        raise HardwareError(
            f"a codebook must include 0, and the coefficient nearest to it is {nearest_zero}."
        )
    return found


def _terms(topology: str, operation: str) -> dict[str, int]:
    """Signs of the ports that an operation adds; `HardwareError` where there is no such."""
    found = OPERATION.fullmatch(operation) if isinstance(operation, str) else None
    first, a, second, b = found.groups() if found else ("",) * 4
    signs = {port: -1 if sign == "-" else 1 for sign, port in ((first, a), (second, b)) if port}
    joined = not (a and b and not second) and not (b and not a and second == "+")
    raw = topology == "B" or signs.get("B1") == 1  # Topology A has B1 as it is, and always
    if not (found and operation and joined and raw) or set(signs) - set(PORTS[topology]):
        also = {"A": "±A_p+B1 or B1, p from 1 to 3", "B": "±A_p±B1, ±A_p or ±B1, p 1 or 2"}
        raise HardwareError(
            f"an operation of Topology {topology} must be {also[topology]}, not {operation!r}."
        )
    if list(signs.values()) == [-1, -1]:
        raise HardwareError(f"an adder cannot negate both of its terms, as {operation!r} does.")
    return signs
