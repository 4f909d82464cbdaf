"""The losses of the phases against formulas in NumPy, and who gets which gradient."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qbench.distillation import Distillation
from qbench.qkd.losses import distillation_loss, divergence, labels_loss, wrong

seeds = st.integers(0, 2**31 - 1)


def drawn(seed: int, members: int = 3, batch: int = 4, classes: int = 5):
    numbers = np.random.default_rng(seed)
    student, teacher = numbers.normal(0, 3, (2, members, batch, classes))
    labels = numbers.integers(0, classes, (members, batch))
    alpha, temperature = numbers.uniform(0, 1, members), numbers.uniform(0.5, 20, members)
    return student, teacher, labels, alpha, temperature


def tensors(*arrays):
    return [torch.from_numpy(array) for array in arrays]


def softmax(z, temperature=1.0):
    e = np.exp(z / temperature - (z / temperature).max())
    return e / e.sum()


@given(seeds)
def test_eq_5_1_image_by_image(seed):
    student, teacher, labels, alpha, temperature = drawn(seed)
    ours = distillation_loss(*tensors(student, labels, teacher, alpha, temperature)).numpy()
    for m, (a, t) in enumerate(zip(alpha, temperature, strict=True)):
        losses = []
        for z_s, z_t, y in zip(student[m], teacher[m], labels[m], strict=True):
            p, q = softmax(z_t, t), softmax(z_s, t)
            soft = (p * np.log(p / q)).sum()
            losses.append(a * t**2 * soft - (1 - a) * np.log(softmax(z_s)[y]))
        assert ours[m] == pytest.approx(np.mean(losses), rel=1e-9)


@given(seeds)
def test_a_member_alone_is_the_loss_of_distillation(seed):
    """The weight of the labels there is 1 − a."""
    student, teacher, labels, alpha, temperature = drawn(seed)
    ours = distillation_loss(*tensors(student, labels, teacher, alpha, temperature))
    for m in range(len(alpha)):
        alone = Distillation(1 - alpha[m], temperature[m], form="vailakis_kl")
        told = tensors(student[m], labels[m], teacher[m])
        assert float(alone(*told)) == pytest.approx(float(ours[m]), rel=1e-9)


def test_a_teacher_who_agrees_costs_nothing():
    student, *_, temperature = tensors(*drawn(0))
    assert divergence(student, student, temperature).abs().max() < 1e-12


@given(seeds)
def test_one_listens_and_the_other_gets_no_gradient(seed):
    student, teacher, labels, alpha, temperature = tensors(*drawn(seed))
    student.requires_grad_(), teacher.requires_grad_()
    distillation_loss(student, labels, teacher, alpha, temperature).sum().backward()
    assert student.grad is not None
    assert teacher.grad is None


@given(seeds)
def test_no_member_gets_the_gradient_of_another(seed):
    student, teacher, labels, alpha, temperature = tensors(*drawn(seed))
    student.requires_grad_()
    distillation_loss(student, labels, teacher, alpha, temperature)[1].backward()
    assert student.grad[1].abs().max() > 0
    assert student.grad[[0, 2]].abs().max() == 0


@given(seeds)
def test_labels_and_errors_image_by_image(seed):
    student, _, labels, *_ = drawn(seed)
    missed = wrong(*tensors(student, labels)).tolist()
    losses = labels_loss(*tensors(student, labels)).tolist()
    for m in range(len(labels)):
        pairs = list(zip(student[m], labels[m], strict=True))
        assert missed[m] == sum(int(z.argmax() != y) for z, y in pairs)
        assert losses[m] == pytest.approx(-np.mean([np.log(softmax(z)[y]) for z, y in pairs]))
