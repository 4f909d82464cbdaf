"""The loss functions of knowledge distillation (Hinton et al. 2015) as both papers write them.

With logits z_s of the student and z_t of the teacher, labels y, softmax σ(z; T) = softmax(z / T)
and the cross entropy H(p, q) = −Σ p ln q (Stewart et al. 2021, eq. 2), all means over the batch in
nats:

* Stewart et al. 2021, eq. 3: α H(y, σ(z_s; 1)) + β H(σ(z_t; T), σ(z_s; T))
* Vailakis 2022, eq. 3.5: a T² H(σ(z_t; T), σ(z_s; T)) + (1 − a) H(y, σ(z_s; 1))
* Vailakis 2022, eq. 5.1: the same with KL(σ(z_t; T) ‖ σ(z_s; T)) for the first H. The two differ
  by the teacher's entropy, which no weight of the student changes: their gradients are equal.

So α weighs the labels and a the teacher, and the first form lacks T²: its soft part pulls less the
higher the temperature, as the gradient of H(σ(z_t; T), σ(z_s; T)) falls as 1 / T².
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from qbench.numbers import number

from .errors import DistillationError

Form = Literal["stewart", "vailakis", "vailakis_kl"]
FORMS: tuple[Form, ...] = ("stewart", "vailakis", "vailakis_kl")


def soft_cross_entropy(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """H(σ(z_t; T), σ(z_s; T)), mean over the batch; both logits (N, classes)."""
    return F.cross_entropy(student / temperature, F.softmax(teacher / temperature, dim=1))


def soft_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL(σ(z_t; T) ‖ σ(z_s; T)), mean over the batch; both logits (N, classes)."""
    return F.kl_div(
        F.log_softmax(student / temperature, dim=1),
        F.log_softmax(teacher / temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )


@dataclass(frozen=True)
class Distillation:
    """How much a student listens to its teacher: the form, its weights and the temperature.

    form: "stewart" (eq. 3), "vailakis" (eq. 3.5) or "vailakis_kl" (eq. 5.1).
    alpha: weight of the labels, α in eq. 3 and 1 − a in the others: 0 to 1.
    beta: weight of the teacher in eq. 3, at least 0; None is 1 − α. The other forms have no β.
    temperature: T, above 0.
    Raises `DistillationError` for values that are not allowed.
    """

    alpha: float = 0.5
    temperature: float = 4.0
    beta: float | None = None
    form: Form = "stewart"

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            known = ", ".join(FORMS)
            raise DistillationError(f"form must be one of {known}, not {self.form!r}.")
        if not number(self.alpha) or not 0 <= self.alpha <= 1:
            raise DistillationError(f"alpha must be a number from 0 to 1, not {self.alpha!r}.")
        if not number(self.temperature) or self.temperature <= 0:
            raise DistillationError(
                f"temperature must be a number above 0, not {self.temperature!r}."
            )
        if self.beta is not None:
            if self.form != "stewart":
                raise DistillationError(f"beta must be None in the form {self.form!r}.")
            if not number(self.beta) or self.beta < 0:
                raise DistillationError(
                    f"beta must be a number of at least 0, or None for 1 - alpha, "
                    f"not {self.beta!r}."
                )

    @property
    def teacher_weight(self) -> float:
        """What the soft term is multiplied by: β, or a T²."""
        if self.form == "stewart":
            return 1 - self.alpha if self.beta is None else self.beta
        return (1 - self.alpha) * self.temperature**2

    def __call__(self, student: Tensor, labels: Tensor, teacher: Tensor) -> Tensor:
        """The loss of a batch; logits (N, classes), labels (N,). The teacher gets no gradient."""
        soft = soft_divergence if self.form == "vailakis_kl" else soft_cross_entropy
        soft = partial(soft, student, teacher.detach(), self.temperature)
        return self.alpha * F.cross_entropy(student, labels) + self.teacher_weight * soft()
