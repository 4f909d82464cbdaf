"""Chapter 09: which trainings of DenseNets it asks for.

Vailakis 2022, sections 5.3.3, 5.4.3, 5.5, 5.6.2, 5.7.2 and 6.1 on CIFAR-10: both forms in float32,
rounded after training, and a student rounded while it learns, alone or with a teacher.
"""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from qbench.parameters import DenseNetQkd

from . import qkd
from .qkd import NAMED, Cell

#: How the thesis calls them; what ends in `_modified` is the form of section 6.1.
TITLES = {f"densenet{depth}": f"DenseNet-{depth}" for depth in (21, 37, 63, 121, 201)}
MODIFIED = "_modified"
#: Distillation in float32, Table 5.9: temperature, a, and the epochs at which the rate falls.
DISTILLED = (
    (20.0, 0.7, (60, 120, 160)),
    (20.0, 0.7, (60, 100, 120, 140, 160)),
    (20.0, 0.8, (60, 100, 120, 140, 160)),
    (8.0, 0.7, (60, 100, 120, 140, 160)),
)


def cells(p: DenseNetQkd) -> list[Cell]:
    """All trainings of the chapter."""
    return [cell for seed in p.seeds for cell in _of_seed(p, seed)]


def table(p: DenseNetQkd) -> pd.DataFrame:
    """Train everything, or look it up: `qkd.table` of all cells."""
    return qkd.table(cells(p), at_once=p.workers, title="DenseNets")


def trained(p: DenseNetQkd) -> list[tuple[int, str]]:
    """Bits and quantiser of every training with rounding, `8/minmax` → (8, "minmax")."""
    return [(int(pair[0]), pair[2:]) for pair in p.trained]


def title(network: str) -> str:
    """`densenet21_modified` → `DenseNet-21, modified`."""
    base = network.removesuffix(MODIFIED)
    return TITLES[base] + (", modified" if base != network else "")


def titles() -> dict[str, str]:
    """Both forms of every network under their titles."""
    return {name + form: title(name + form) for name in TITLES for form in ("", MODIFIED)}


def described(p: DenseNetQkd) -> str:
    """The scale of the trainings, for a caption."""
    return qkd.described(p)


def ranges(p: DenseNetQkd) -> str:
    """How the ranges of the student's trainings are found at each bit width, in words."""
    by: dict[str, list[str]] = {}
    for bits, quantiser in trained(p):
        by.setdefault(NAMED[quantiser], []).append(f"{bits}")
    return "; ".join(f"{name} at {' and '.join(bits)} bits" for name, bits in by.items())


def _of_seed(p: DenseNetQkd, seed: int) -> Iterator[Cell]:
    plans = Plans(p, seed)
    for network in dict.fromkeys([p.student, p.teacher, *p.networks]):
        for form in ("", MODIFIED) if network in p.networks else ("",):
            yield Cell(network + form, "baseline", seed, plans.float32(network + form))
    for network in dict.fromkeys([p.student, *p.networks]):
        after = {(bits, quantiser) for bits in p.bits for quantiser in p.quantisers}
        for bits, quantiser in sorted(after | (set(trained(p)) if network == p.student else set())):
            for per_channel in (False, True):
                spec = qkd.rounded(plans.float32(network), bits, quantiser, per_channel)
                yield Cell(network, "ptq", seed, spec, bits, quantiser, per_channel)
    for number, (temperature, alpha, drops) in enumerate(DISTILLED if p.distilled else ()):
        spec = plans.distilled(temperature, alpha, drops)
        yield Cell(p.student, f"kd {number}", seed, spec, alpha=alpha)
    for bits, quantiser in trained(p):
        for method, spec in plans.methods(bits, quantiser).items():
            yield Cell(p.student, method, seed, spec, bits, quantiser)


class Plans:
    """The thesis' trainings with one seed, as parameters of `runs.study`."""

    def __init__(self, p: DenseNetQkd, seed: int) -> None:
        self.p = p
        self.same = {"dataset": p.dataset, "images": p.images, "seed": seed, "augment": p.augment}

    def float32(self, network: str) -> dict[str, Any]:
        """Section 5.3.3."""
        how = self._phase("ss", 200, 0.1, (60, 120, 160), warm_up=2)
        return self.same | {"network": network} | how

    def distilled(self, temperature: float, alpha: float, drops: tuple[int, ...]) -> dict[str, Any]:
        """Section 5.4.3."""
        how = self._phase("ts", 200, 0.01, drops, warm_up=2)
        taught = {"alpha": alpha, "temperature": temperature}
        taught["teacher"] = self.float32(self.p.teacher)
        return self.same | {"network": self.p.student} | how | taught

    def methods(self, bits: int, quantiser: str) -> dict[str, dict[str, Any]]:
        """Sections 5.6.2 and 5.7.2 for the student: QAT, SS+TS, QKD.

        SS is section 5.6.2's QAT: that of 8 bits down to 5, that of 4 bits below. And QAT for as
        long as QKD takes.
        """
        first = 60 if bits > 4 else 140
        rounded = {"weight_bits": bits, "act_bits": bits, "quantiser": quantiser}
        same = self.same | {"network": self.p.student} | rounded
        start = {"start": self.float32(self.p.student)}
        studied = same | start | self._self_studying(bits, first)
        taught = {"alpha": self.p.alpha, "temperature": self.p.temperature}
        taught["teacher"] = self.float32(self.p.teacher)
        co = same | {"start": studied} | taught | self._phase("cs", 100, 1e-4, (40, 60, 80))
        tutored = self._phase("ts", 100, 1e-3, (40, 60, 80))
        found = {
            "qat": studied,
            "qat+kd": same | {"start": studied} | taught | tutored,
            "qkd": same | {"start": co} | taught | {"teacher": co} | tutored,
        }
        if self.p.long:
            found["long qat"] = same | start | self._self_studying(bits, first + 200)
        return found

    def _self_studying(self, bits: int, epochs: int) -> dict[str, Any]:
        if bits > 4:
            return self._phase("ss", epochs, 1e-6, (20, 40), warm_up=1)
        return self._phase("ss", epochs, 1e-3, tuple(range(20, epochs, 20)), warm_up=1)

    def _phase(self, *how: Any, **more: Any) -> dict[str, Any]:
        return qkd.phase(*how, share=self.p.share, **more)
