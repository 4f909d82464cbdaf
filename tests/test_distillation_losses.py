"""The losses of distillation beside their formulas in NumPy, in float64."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from qbench.distillation import Distillation, DistillationError, losses

NAN, INF = float("nan"), float("inf")
FINITE = st.floats(-20, 20)
TEMPERATURES = st.floats(0.25, 50)
SHARES = st.floats(0, 1)
CLOSE = {"rtol": 1e-9, "atol": 1e-11}  # float64 with sums of a few dozen terms


@st.composite
def batches(draw):
    """Logits of the student and of the teacher (N, classes), labels (N,)."""
    shape = draw(st.tuples(st.integers(1, 5), st.integers(2, 6)))
    student, teacher = (draw(arrays.arrays(np.float64, shape, elements=FINITE)) for _ in "st")
    labels = draw(arrays.arrays(np.int64, shape[0], elements=st.integers(0, shape[1] - 1)))
    return student, teacher, labels


def softmax(logits, temperature=1.0):
    powers = np.exp(logits / temperature - (logits / temperature).max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def log_softmax(logits, temperature=1.0):
    scaled = logits / temperature - (logits / temperature).max(axis=1, keepdims=True)
    return scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))


def by_formula(how, student, teacher, labels):
    hard = -log_softmax(student)[np.arange(len(labels)), labels].mean()
    p, t = softmax(teacher, how.temperature), how.temperature
    soft = -(p * log_softmax(student, t)).sum(axis=1).mean()
    if how.form == "stewart":
        beta = 1 - how.alpha if how.beta is None else how.beta
        return how.alpha * hard + beta * soft
    if how.form == "vailakis_kl":
        soft += (p * log_softmax(teacher, t)).sum(axis=1).mean()
    a = 1 - how.alpha
    return a * t**2 * soft + (1 - a) * hard


def loss_and_gradient(how, student, teacher, labels):
    student = torch.from_numpy(student).requires_grad_()
    loss = how(student, torch.from_numpy(labels), torch.from_numpy(teacher))
    loss.backward()
    return loss.item(), student.grad.numpy()


@given(batches(), SHARES, TEMPERATURES, st.sampled_from(losses.FORMS))
def test_a_loss_is_its_formula(batch, alpha, temperature, form):
    how = Distillation(alpha, temperature, form=form)
    np.testing.assert_allclose(
        loss_and_gradient(how, *batch)[0],
        by_formula(how, *batch),
        rtol=1e-9,
        atol=1e-11 * max(1, temperature**2) * 100,  # the divergence is a difference of entropies
    )


@given(batches(), SHARES, st.floats(0, 100), TEMPERATURES)
def test_beta_weighs_the_teacher_of_stewart(batch, alpha, beta, temperature):
    how = Distillation(alpha, temperature, beta)
    np.testing.assert_allclose(
        loss_and_gradient(how, *batch)[0], by_formula(how, *batch), rtol=1e-9, atol=1e-9
    )


@given(batches(), SHARES, TEMPERATURES, st.sampled_from(losses.FORMS))
def test_the_gradient_is_the_difference_of_probabilities(batch, alpha, temperature, form):
    student, teacher, labels = batch
    how = Distillation(alpha, temperature, form=form)
    weight = (1 - alpha) * (1 if form == "stewart" else temperature**2)
    hard = softmax(student) - np.eye(student.shape[1])[labels]
    soft = (softmax(student, temperature) - softmax(teacher, temperature)) / temperature
    by_hand = (alpha * hard + weight * soft) / len(labels)
    np.testing.assert_allclose(loss_and_gradient(how, *batch)[1], by_hand, rtol=1e-8, atol=1e-10)


@given(batches(), SHARES, TEMPERATURES)
def test_cross_entropy_and_divergence_pull_alike(batch, alpha, temperature):
    """Vailakis' equations 3.5 and 5.1; the losses differ by the teacher's entropy times a T²."""
    entropy, divergence = (
        loss_and_gradient(Distillation(alpha, temperature, form=form), *batch)
        for form in ("vailakis", "vailakis_kl")
    )
    np.testing.assert_allclose(entropy[1], divergence[1], rtol=1e-8, atol=1e-10)
    p = softmax(batch[1], temperature)
    own = -(p * log_softmax(batch[1], temperature)).sum(axis=1).mean()
    expected = (1 - alpha) * temperature**2 * own
    np.testing.assert_allclose(entropy[0] - divergence[0], expected, rtol=1e-8, atol=1e-8)


@given(batches(), SHARES, TEMPERATURES)
def test_stewart_with_beta_a_t2_is_vailakis(batch, a, temperature):
    """Equation 3 with α = 1 − a and β = a T² is equation 3.5."""
    stewart = Distillation(1 - a, temperature, a * temperature**2)
    vailakis = Distillation(1 - a, temperature, form="vailakis")
    for one, other in zip(
        loss_and_gradient(stewart, *batch), loss_and_gradient(vailakis, *batch), strict=True
    ):
        np.testing.assert_allclose(one, other, **CLOSE)


@given(batches(), st.sampled_from(losses.FORMS))
def test_listening_to_the_labels_alone_is_the_cross_entropy(batch, form):
    student, _, labels = batch
    expected = -log_softmax(student)[np.arange(len(labels)), labels].mean()
    found = loss_and_gradient(Distillation(1.0, 1.0, form=form), *batch)[0]
    np.testing.assert_allclose(found, expected, **CLOSE)


@given(batches(), TEMPERATURES, st.floats(-10, 10), st.sampled_from(losses.FORMS))
def test_a_constant_added_to_the_teachers_logits_changes_nothing(batch, temperature, by, form):
    student, teacher, labels = batch
    how = Distillation(0.2, temperature, form=form)
    for one, other in zip(
        loss_and_gradient(how, student, teacher, labels),
        loss_and_gradient(how, student, teacher + by, labels),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-8)


@given(batches(), TEMPERATURES, st.sampled_from(losses.FORMS))
def test_a_student_like_its_teacher_is_not_pulled(batch, temperature, form):
    student, _, labels = batch
    how = Distillation(0.0, temperature, form=form)
    loss, gradient = loss_and_gradient(how, student, student.copy(), labels)
    np.testing.assert_allclose(gradient, 0, atol=1e-10)
    if form == "vailakis_kl":
        assert loss == pytest.approx(0, abs=1e-9)


@given(batches())
def test_at_high_temperatures_the_soft_part_pulls_with_1_over_t2(batch):
    """Only the forms with T² still pull then: towards equal logits, up to a constant."""
    student, teacher, labels = batch
    limit = (student - student.mean(1, keepdims=True)) - (teacher - teacher.mean(1, keepdims=True))
    limit /= student.size
    for form in losses.FORMS:
        for temperature in (1e4, 1e5):
            gradient = loss_and_gradient(Distillation(0.0, temperature, form=form), *batch)[1]
            factor = temperature**2 if form == "stewart" else 1
            # the next term of the series is smaller by |z| / T, at most 40 / T, squared
            np.testing.assert_allclose(factor * gradient, limit, atol=2e3 / temperature)


@pytest.mark.parametrize("form", losses.FORMS)
def test_no_gradient_flows_into_the_teacher(form):
    student, teacher = (torch.randn(4, 3, requires_grad=True) for _ in "st")
    Distillation(0.5, 3.0, form=form)(student, torch.tensor([0, 1, 2, 0]), teacher).backward()
    assert teacher.grad is None and student.grad.abs().sum() > 0


ALPHA = "alpha must be a number from 0 to 1, not "
TEMPERATURE = "temperature must be a number above 0, not "
BETA = "beta must be a number of at least 0, or None for 1 - alpha, not "


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"form": "hinton"}, "form must be one of stewart, vailakis, vailakis_kl, not 'hinton'."),
        ({"form": None}, "form must be one of stewart, vailakis, vailakis_kl, not None."),
        *(({"alpha": a}, f"{ALPHA}{a!r}.") for a in (-0.1, 1.1, NAN, INF, None, "1", True)),
        *(({"temperature": t}, f"{TEMPERATURE}{t!r}.") for t in (0, -4.0, NAN, INF, None, True)),
        *(({"beta": b}, f"{BETA}{b!r}.") for b in (-0.5, NAN, INF, "1", False)),
        ({"form": "vailakis", "beta": 1.0}, "beta must be None in the form 'vailakis'."),
    ],
)
def test_a_distillation_that_cannot_be(fields, said):
    with pytest.raises(DistillationError) as caught:
        Distillation(**fields)
    assert str(caught.value) == said
