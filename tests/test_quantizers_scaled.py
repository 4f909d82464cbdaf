"""BWN, TWN, TTQ and DoReFa: their equations, worked out by hand and as properties."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from qbench.quantizers.errors import QuantiserError
from qbench.quantizers.scaled import Bwn, Dorefa, Ttq, Twn
from qbench.quantizers.syq import BINARY, Symmetric

WIDE = torch.float64
# Two filters of four weights; mean |W| 0.7 and 0.3, 0.5 of all.
WEIGHT = torch.tensor([[0.2, -1.6, 0.4, -0.6], [0.1, 0.5, -0.6, 0.0]], dtype=WIDE)
GRADIENT = torch.arange(1.0, 9.0, dtype=WIDE).view(2, 4)
kernels = arrays.arrays(
    np.float64,
    st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)),
    elements=st.floats(-4, 4, allow_subnormal=False),
).map(torch.from_numpy)


def ran(quantiser, weight=WEIGHT, arriving=GRADIENT):
    """What comes out, and the gradient by the weights."""
    weight = weight.clone().requires_grad_()
    out = quantiser(weight)
    out.backward(arriving)
    return out.detach(), weight.grad


def near(wanted):
    return pytest.approx(np.asarray(wanted), rel=1e-12)


def test_bwn_has_a_scale_for_each_filter():
    out, passed = ran(Bwn())
    assert out.numpy() == near([[0.7, -0.7, 0.7, -0.7], [0.3, 0.3, -0.3, 0.3]])
    # g · (1/4 + α), and g · 1/4 at −1.6
    assert passed.numpy() == near([[0.95, 0.5, 2.85, 3.8], [2.75, 3.3, 3.85, 4.4]])


def test_bwn_of_the_layer_has_one_scale():
    out, passed = ran(Bwn("layer"))
    assert out.numpy() == near(np.where(WEIGHT >= 0, 0.5, -0.5))
    slope = np.full((2, 4), 1 / 8 + 0.5)
    slope[0, 1] = 1 / 8
    assert passed.numpy() == near(GRADIENT.numpy() * slope)


def test_twn_leaves_out_what_is_below_seven_tenths_of_the_mean():
    out, passed = ran(Twn())
    # Δ = 0.35; left are 1.6, 0.4, 0.6, 0.5 and 0.6, whose mean is 0.74
    assert out.numpy() == near([[0, -0.74, 0.74, -0.74], [0, 0.74, -0.74, 0]])
    assert torch.equal(passed, GRADIENT)
    # Mean 1, so that 0.72 stays and 0.68 goes; (0.72 + 1.6) / 2 = 1.16
    near_it = torch.tensor([[0.72, -0.68, -1.6]], dtype=WIDE)
    assert Twn()(near_it).numpy() == near([[1.16, 0, -1.16]])


@pytest.mark.parametrize("scale_gradient", ["chain", "printed"])
def test_ttq_learns_two_scales(scale_gradient):
    quantiser = Ttq(eta=0.25, scale_gradient=scale_gradient).to(WIDE)
    assert quantiser.positive.item() == quantiser.negative.item() == 1
    with torch.no_grad():
        quantiser.positive.fill_(0.5)
        quantiser.negative.fill_(3)
    out, passed = ran(quantiser)
    # Δ = 0.4, and 0.4 itself is not above it: −, 0, − and 0, +, −
    assert out.tolist() == [[0, -3, 0, -3], [0, 0.5, -3, 0]]
    assert passed.tolist() == [[1, 6, 3, 12], [5, 3, 21, 8]]
    assert quantiser.positive.grad.item() == 6
    assert quantiser.negative.grad.item() == (-13 if scale_gradient == "chain" else 13)


def test_the_scales_of_ttq_have_the_slopes_that_differences_show():
    """The printed sign of eq. 5.8 leads away from the least error where weights are negative."""
    step, goal = 1e-6, torch.linspace(-1, 1, 8, dtype=WIDE).view(2, 4)
    for name in ("positive", "negative"):
        found = {}
        for kind in ("chain", "printed"):
            quantiser = Ttq(scale_gradient=kind).to(WIDE)
            (quantiser(WEIGHT) - goal).square().sum().backward()
            found[kind] = getattr(quantiser, name).grad.item()
        errors = []
        for change in (step, -step):
            quantiser = Ttq().to(WIDE)
            with torch.no_grad():
                getattr(quantiser, name).add_(change)
                errors.append((quantiser(WEIGHT) - goal).square().sum().item())
        slope = (errors[0] - errors[1]) / (2 * step)
        assert found["chain"] == pytest.approx(slope, rel=1e-6)
        assert found["printed"] == (found["chain"] if name == "positive" else -found["chain"])


def test_dorefa_of_one_bit():
    out, passed = ran(Dorefa(1))
    assert out.numpy() == near(np.where(WEIGHT >= 0, 0.5, -0.5))
    assert torch.equal(passed, GRADIENT)


def test_dorefa_of_two_bits():
    weight = torch.tensor([[0.8, -0.8, 0.3, -0.2, 0.6]], dtype=WIDE).atanh()
    out, passed = ran(Dorefa(2), weight, torch.ones(1, 5, dtype=WIDE))
    # tanh / 0.8 is 1, −1, 0.375, −0.25, 0.75; the levels are ±1 and ±1/3
    assert out.numpy() == near([[1, -1, 1 / 3, -1 / 3, 1]])
    # d(tanh W / max)/dW = (1 − tanh²) / max where W is not the largest
    assert passed[0, 2:].numpy() == near([0.91 / 0.8, 0.96 / 0.8, 0.64 / 0.8])


@given(kernels, st.integers(2, 8), st.floats(-2, 2))
def test_dorefa_has_the_slope_of_the_curve_under_its_steps(weight, bits, arriving):
    largest = weight.abs().max()
    assume(largest > 1e-3 and int((weight.abs() == largest).sum()) == 1)
    _, passed = ran(Dorefa(bits), weight, torch.full_like(weight, arriving))
    smooth = weight.clone().requires_grad_()
    bent = smooth.tanh()
    (bent / bent.abs().max()).backward(torch.full_like(weight, arriving))
    assert torch.allclose(passed, smooth.grad, rtol=1e-9, atol=1e-9)


@given(kernels, st.integers(2, 8))
def test_dorefa_has_two_to_the_bits_levels_from_minus_one_to_one(weight, bits):
    out = Dorefa(bits)(weight)
    codes = (out + 1) / 2 * (2**bits - 1)
    assert torch.allclose(codes, codes.round(), atol=1e-9)
    assert float(out.abs().max()) <= 1
    assert (out * weight)[weight.abs() == weight.abs().max()].min() >= 0


@given(kernels)
def test_codebooks(weight):
    binary, ternary = Bwn()(weight), Twn()(weight)
    for part, filters in zip(binary, weight, strict=True):
        scale = filters.abs().mean()
        assert torch.allclose(part.abs(), scale.expand_as(part), rtol=1e-12, atol=0)
    assert len(ternary.abs().unique()) <= 2 and not bool(ternary.isnan().any())
    assert bool(((ternary == 0) | (ternary.sign() == weight.sign())).all())
    assert set(Ttq()(weight).unique().tolist()) <= {-1, 0, 1}


@given(kernels)
def test_binary_weights_of_a_layer_are_the_same_in_all_of_them(weight):
    ours = Symmetric(weight, "layer", eta=BINARY)(weight).detach()
    assert torch.allclose(ours, Bwn("layer")(weight), rtol=1e-12, atol=0)
    assert torch.allclose(ours, Dorefa(1)(weight), rtol=1e-12, atol=0)


@pytest.mark.parametrize("quantiser", [Bwn(), Bwn("layer"), Twn(), Ttq(), Dorefa(1), Dorefa(3)])
def test_weights_that_are_all_zero_are_no_trouble(quantiser):
    weight = torch.zeros(2, 1, 3, 3)
    out, passed = ran(quantiser, weight, torch.ones_like(weight))
    assert bool(out.isfinite().all() and passed.isfinite().all())


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: Bwn("kernel"), "per must be one of filter, layer, not 'kernel'."),
        (lambda: Ttq(eta=1.0), "eta must be a number from 0 to below 1, not 1.0."),
        (lambda: Ttq(eta=-0.1), "eta must be a number from 0 to below 1, not -0.1."),
        (
            lambda: Ttq(scale_gradient="none"),
            "scale_gradient must be one of chain, printed, not 'none'.",
        ),
        (lambda: Dorefa(0), "bits must be a whole number from 1 to 16, not 0."),
        (lambda: Dorefa(17), "bits must be a whole number from 1 to 16, not 17."),
        (lambda: Dorefa(True), "bits must be a whole number from 1 to 16, not True."),
    ],
)
def test_refused(ask, said):
    with pytest.raises(QuantiserError) as caught:
        ask()
    assert str(caught.value) == said
