"""The loss of each phase, for each member of a stack by itself.

Logits (M, B, classes), labels (M, B); a result has one number a member, (M,), the mean over its
batch in nats. The sum over members is what is derived: no member's gradient holds another's loss.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def labels_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy with the labels, (M,)."""
    each = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    return each.view(labels.shape).mean(1)


def divergence(student: Tensor, teacher: Tensor, temperature: Tensor) -> Tensor:
    """KL(σ(z_t; T) ‖ σ(z_s; T)), (M,); `temperature` (M,)."""
    scale = temperature[:, None, None]
    soft = F.kl_div(
        F.log_softmax(student / scale, dim=2),
        F.log_softmax(teacher / scale, dim=2),
        reduction="none",
        log_target=True,
    )
    return soft.sum(2).mean(1)


def distillation_loss(
    student: Tensor, labels: Tensor, teacher: Tensor, alpha: Tensor, temperature: Tensor
) -> Tensor:
    """a T² KL(σ(z_t; T) ‖ σ(z_s; T)) + (1 − a) H(y, σ(z_s; 1)), (M,): Vailakis 2022, eq. 5.1.

    `alpha` is a, the weight of the teacher, and `temperature` T, both (M,). Exchange student and
    teacher for eq. 3.12. The one that is listened to gets no gradient.
    """
    soft = divergence(student, teacher.detach(), temperature)
    return alpha * temperature**2 * soft + (1 - alpha) * labels_loss(student, labels)


def wrong(logits: Tensor, labels: Tensor) -> Tensor:
    """How many of a batch each member gets wrong, int64 (M,)."""
    return torch.ne(logits.argmax(2), labels).sum(1)
