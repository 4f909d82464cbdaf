"""Chapter 08: which trainings it asks for, and their errors as one table.

Vailakis 2022, sections 5.3 to 5.8 on MNIST: perceptrons in float32, distilled, quantised after
training (PTQ), trained quantised (QAT, the self-studying phase SS), with a teacher after that
(SS+TS), and with QKD's three phases (SS+CS+TS).
"""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from qbench import store
from qbench.parameters import PerceptronQkd
from qbench.qkd import runs
from qbench.qkd.export import EIGHT, exported

from . import qkd
from .qkd import METHODS, Cell

#: How the thesis calls them.
TITLES = {
    "dnn30": "DNN-30",
    "dnn300": "DNN-300",
    "dnn800": "DNN-800",
    "dnn1200": "DNN-1200",
    "kl_mlp_student": "KL_MLP_Student",
    "kl_mlp_teacher": "KL_MLP_Teacher",
}
STUDENT, TEACHER = "kl_mlp_student", "kl_mlp_teacher"
#: Temperature and students of Table 5.7, whose teacher is DNN-800.
TUTORED = {"dnn300": 20.0, "dnn30": 3.0}
TUTOR = "dnn800"


def cells(p: PerceptronQkd) -> list[Cell]:
    """All trainings of the chapter."""
    return [cell for seed in p.seeds for cell in _of_seed(p, seed)]


def table(p: PerceptronQkd) -> pd.DataFrame:
    """Train everything, or look it up: `qkd.table` of all cells."""
    return qkd.table(cells(p), at_once=p.workers, title="perceptrons")


def files(p: PerceptronQkd) -> pd.DataFrame:
    """The student's 8-bit networks of every seed as ONNX files, as a table of the page."""
    chosen = [
        cell
        for cell in cells(p)
        if cell.bits == EIGHT and cell.network == STUDENT and cell.method in ("ptq", "qat", "qkd")
    ]
    rows = []
    for cell in chosen:
        [found] = store.run(exported, study=runs.complete(cell.spec)).to_dict("records")
        ranges = f"{cell.quantiser}, a range a {'neuron' if cell.per_channel else 'tensor'}"
        rows.append(
            {
                "training": METHODS[cell.method],
                "ranges": ranges,
                "seed": cell.seed,
                "PyTorch (%)": 100 - found["test_error"],
                "ONNX Runtime (%)": 100 - found["onnx_error"],
                "images in another class": found["classes_differ"],
                "file (MB)": found["bytes"] / 2**20,
            }
        )
    if not rows:
        return pd.DataFrame({"note": ["Only networks of 8 bits have a file with integers."]})
    return pd.DataFrame(rows)


def described(p: PerceptronQkd) -> str:
    """The scale of the trainings, for a caption."""
    return qkd.described(p)


def _of_seed(p: PerceptronQkd, seed: int) -> Iterator[Cell]:
    plans = Plans(p, seed)
    for network in p.networks:
        float32 = plans.dnn(network)
        yield Cell(network, "baseline", seed, float32)
        yield from _quantised_after(p, network, float32, seed)
    teacher, student = plans.kl(TEACHER), plans.kl(STUDENT)
    for network, float32 in ((TEACHER, teacher), (STUDENT, student)):
        yield Cell(network, "baseline", seed, float32)
        yield from _quantised_after(p, network, float32, seed)
    for network in TUTORED:
        for alpha in p.alphas if network in p.networks else []:
            yield Cell(network, "kd", seed, plans.tutored(network, alpha), alpha=alpha)
    yield Cell(STUDENT, "kd", seed, plans.kl_tutored(), alpha=p.alpha)
    for bits in p.teacher_bits:
        spec = plans.self_studying(TEACHER, bits, "minmax")
        yield Cell(TEACHER, "qat", seed, spec, bits, "minmax")
    for quantiser in p.quantisers:
        for bits in p.bits:
            for method, spec in plans.methods(bits, quantiser).items():
                yield Cell(STUDENT, method, seed, spec, bits, quantiser)


def _quantised_after(
    p: PerceptronQkd, network: str, float32: dict[str, Any], seed: int
) -> Iterator[Cell]:
    for bits in p.bits:
        for quantiser in p.quantisers:
            for per_channel in (False, True):
                spec = qkd.rounded(float32, bits, quantiser, per_channel)
                yield Cell(network, "ptq", seed, spec, bits, quantiser, per_channel)


class Plans:
    """The thesis' trainings with one seed, as parameters of `runs.study`.

    Epochs, and the epochs at which learning rates fall, are `share` of the thesis'. Weight decay is
    none where the thesis prints none.
    """

    def __init__(self, p: PerceptronQkd, seed: int) -> None:
        self.p = p
        self.same = {"dataset": p.dataset, "images": p.images, "seed": seed}

    def dnn(self, network: str) -> dict[str, Any]:
        """Section 5.3.1."""
        how = self._phase("ss", 160, 0.1, (40, 80, 120), 0.5, warm_up=2)
        return self.same | {"network": network} | how

    def kl(self, network: str) -> dict[str, Any]:
        """Section 5.3.2."""
        how = self._phase("ss", 100, 0.1, (20, 40, 60), 0.5, warm_up=2)
        return self.same | {"network": network} | how

    def tutored(self, network: str, alpha: float) -> dict[str, Any]:
        """Section 5.4.1: `alpha` is the weight of the teacher, DNN-800."""
        how = self._phase("ts", 160, 0.1, (40, 80, 120), 0.2, warm_up=2, batch_size=32)
        taught = {"teacher": self.dnn(TUTOR), "alpha": alpha, "temperature": TUTORED[network]}
        return self.same | {"network": network} | how | taught

    def kl_tutored(self) -> dict[str, Any]:
        """Section 5.4.2."""
        how = self._phase("ts", 10, 0.1, warm_up=1, weight_decay=0.0)
        return self.same | {"network": STUDENT} | how | self._taught_by(self.kl(TEACHER))

    def self_studying(
        self, network: str, bits: int, quantiser: str, epochs: int | None = None
    ) -> dict[str, Any]:
        """Section 5.6.1: quantisation-aware training from the baseline."""
        how = self._phase("ss", epochs or self.p.phases[0], 0.01, warm_up=2)
        rounded = {"weight_bits": bits, "act_bits": bits, "quantiser": quantiser}
        return self.same | {"network": network, "start": self.kl(network)} | rounded | how

    def methods(self, bits: int, quantiser: str) -> dict[str, dict[str, Any]]:
        """Section 5.7.1 for the student: QAT, SS+TS and QKD; and QAT for as long as QKD takes."""
        first, second, third = self.p.phases
        found = {}
        studied = self.self_studying(STUDENT, bits, quantiser) if first else None
        start = studied or self.kl(STUDENT)
        rounded = {"weight_bits": bits, "act_bits": bits, "quantiser": quantiser}
        same = self.same | {"network": STUDENT} | rounded
        if studied:
            found["qat"] = studied
            found["long qat"] = self.self_studying(STUDENT, bits, quantiser, sum(self.p.phases))
        if third:
            how = self._phase("ts", third, 0.01, weight_decay=0.0)
            found["qat+kd"] = same | how | {"start": start} | self._taught_by(self.kl(TEACHER))
        if second:
            how = self._phase("cs", second, 0.01, weight_decay=0.0)
            start = same | how | {"start": start} | self._taught_by(self.kl(TEACHER))
            found["qkd"] = start
        if second and third:
            how = self._phase("ts", third, 0.1, weight_decay=0.0)
            found["qkd"] = same | how | {"start": start} | self._taught_by(start)
        return found

    def _taught_by(self, teacher: dict[str, Any]) -> dict[str, Any]:
        return {"teacher": teacher, "alpha": self.p.alpha, "temperature": self.p.temperature}

    def _phase(self, *how: Any, **more: Any) -> dict[str, Any]:
        return qkd.phase(*how, share=self.p.share, **more)
