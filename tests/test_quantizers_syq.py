"""SYQ: codes, scales and gradients as the thesis' equations, and the layer that is deployed."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import nn
from torch.nn import functional as F

from qbench import reference
from qbench.quantizers.errors import QuantiserError
from qbench.quantizers.formats import fixed_point_grid
from qbench.quantizers.networks import Quantised
from qbench.quantizers.straight_through import with_slopes
from qbench.quantizers.syq import (
    BINARY,
    GRANULARITIES,
    TERNARY,
    Decomposed,
    FixedPoint,
    Symmetric,
    for_layer,
)

WIDE = torch.float64
# Two filters of 2 × 2 pixels on one input; max |W| is 1, so that η is 0.05.
WEIGHT = torch.tensor([[[[0.5, -0.01], [-1.0, 0.2]]], [[[0.3, 0.02], [0.04, -0.6]]]], dtype=WIDE)
CODES = [1, 0, -1, 1, 1, 0, 0, -1]
STARTS = {"pixel": [0.4, 0.015, 0.52, 0.4], "row": [0.2075, 0.46], "layer": [0.33375]}
GRADIENT = torch.arange(1.0, 9.0, dtype=WIDE).view(2, 1, 2, 2)  # what arrives at the weights

every_granularity = pytest.mark.parametrize("granularity", GRANULARITIES)
kernels = arrays.arrays(
    np.float64,
    st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4)),
    elements=st.floats(-4, 4, allow_subnormal=False),
).map(torch.from_numpy)


def gradients(quantiser, weight, arriving):
    """By the weights, and by the scales, flat."""
    weight = weight.clone().requires_grad_()
    quantiser(weight).backward(arriving)
    return weight.grad, quantiser.scale.grad.flatten()


# Forwards


@every_granularity
def test_scales_start_as_the_mean_size_of_what_shares_them(granularity):
    quantiser = Symmetric(WEIGHT, granularity)
    assert quantiser.scale.flatten().tolist() == pytest.approx(STARTS[granularity])
    # Equation 5.12 as printed: a sum over I × N weights, divided by that.
    if granularity == "pixel":
        assert torch.allclose(quantiser.scale[0, 0], WEIGHT.abs().sum((0, 1)) / (1 * 2))


def test_codes_are_those_of_the_mask_with_the_threshold_of_the_thesis():
    eta = reference.load("faraone2021", "equation_5_3").set_index("quantity")["value"]
    assert Symmetric(WEIGHT).eta == TERNARY == float(eta["eta_share_of_max"])
    assert BINARY == float(eta["eta"])
    assert Symmetric(WEIGHT).codes(WEIGHT).flatten().tolist() == CODES


def test_the_threshold_itself_and_zero_have_a_sign():
    weight = torch.tensor([[1.0, 0.5, -0.5, 0.0, -0.0, 0.499]])
    assert Symmetric(weight, "layer", eta=0.5).codes(weight).tolist() == [[1, 1, -1, 0, 0, 0]]
    assert Symmetric(weight, "layer", eta=BINARY).codes(weight).tolist() == [[1, 1, -1, 1, 1, 1]]


@given(kernels, st.sampled_from(GRANULARITIES), st.sampled_from([BINARY, TERNARY, 0.5]))
def test_codes_scales_and_values(weight, granularity, eta):
    quantiser = Symmetric(weight, granularity, eta=eta)
    codes, value = quantiser.codes(weight), quantiser(weight)
    height, width = weight.shape[2:]
    assert set(codes.unique().tolist()) <= set(quantiser.codebook)
    assert (
        quantiser.scale.numel() == {"pixel": height * width, "row": height, "layer": 1}[granularity]
    )
    assert value.shape == weight.shape and torch.equal(value, codes * quantiser.scale)
    with torch.no_grad():
        quantiser.scale.fill_(0.25)
        layer = Symmetric(weight, "layer", eta=eta)
        layer.scale.fill_(0.25)
    assert torch.equal(quantiser(weight), layer(weight))


@given(kernels, st.sampled_from(GRANULARITIES), st.sampled_from([0.25, 8.0]))
def test_larger_weights_have_the_same_codes_and_larger_scales(weight, granularity, factor):
    small, large = Symmetric(weight, granularity), Symmetric(weight * factor, granularity)
    assert torch.equal(small.codes(weight), large.codes(weight * factor))
    assert torch.allclose(small.scale * factor, large.scale, rtol=1e-14, atol=0)


# Backwards


@every_granularity
@pytest.mark.parametrize("scale_gradient", ["chain", "printed"])
def test_gradients_worked_out_by_hand(granularity, scale_gradient):
    by_weight, by_scale = gradients(
        Symmetric(WEIGHT, granularity, scale_gradient=scale_gradient), WEIGHT, GRADIENT
    )
    start = STARTS[granularity]
    each = {  # the scale of each of the eight weights
        "pixel": start * 2,
        "row": [start[0]] * 2 + [start[-1]] * 2 + [start[0]] * 2 + [start[-1]] * 2,
        "layer": start * 8,
    }[granularity]
    # Equation 5.11: g is 1 … 8. The zeros, weights 2, 6 and 7, get theirs too.
    assert by_weight.flatten().tolist() == pytest.approx(
        [g * scale for g, scale in zip(range(1, 9), each, strict=True)]
    )
    # Chain: Σ Q·g, e.g. 1·1 + 1·5 = 6 for the first pixel. Equation 5.10: α · Σ g, α · (1 + 5).
    chain = {"pixel": [6, 0, -3, -4], "row": [6, -7], "layer": [-1]}
    sums = {"pixel": [6, 8, 10, 12], "row": [14, 22], "layer": [36]}
    printed = [a * s for a, s in zip(start, sums[granularity], strict=True)]
    wanted = chain[granularity] if scale_gradient == "chain" else printed
    assert by_scale.tolist() == pytest.approx(wanted)


@every_granularity
@pytest.mark.parametrize("scale_gradient", ["chain", "printed"])
def test_the_printed_gradient_of_a_scale_is_the_sum_of_those_of_its_weights(
    granularity, scale_gradient
):
    weight, arriving = torch.randn(2, 5, 3, 3, 3, generator=seeded(1), dtype=WIDE)
    by_weight, by_scale = gradients(
        Symmetric(weight, granularity, scale_gradient=scale_gradient), weight, arriving
    )
    apart = {"pixel": (0, 1), "row": (0, 1, 3), "layer": (0, 1, 2, 3)}[granularity]
    same = torch.allclose(by_weight.sum(apart).flatten(), by_scale)
    assert same == (scale_gradient == "printed")


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@every_granularity
@pytest.mark.parametrize("eta", [BINARY, TERNARY, 0.4])
def test_gradients_are_the_slopes_of_a_smooth_surrogate(granularity, eta):
    """E(α · (Q + W − W₀)) is smooth in α and W, and at W₀ it is the error of the rounded weights.

    Its central differences are Σ Q·g by a scale and α · g by a weight: eq. 5.11, with eq. 5.4's
    step of 1 for the codes, and the chain rule for the scales.
    """
    start = torch.randn(3, 2, 3, 3, generator=seeded(2), dtype=WIDE)
    images = torch.randn(2, 2, 6, 6, generator=seeded(3), dtype=WIDE)
    goal = torch.randn(2, 3, 6, 6, generator=seeded(4), dtype=WIDE)

    def error(value):
        return (F.conv2d(images, value, padding=1).tanh() - goal).square().mean()

    quantiser = Symmetric(start, granularity, eta=eta)
    weight = start.clone().requires_grad_()
    error(quantiser(weight)).backward()
    codes, scale = quantiser.codes(start), quantiser.scale.detach()
    step = 1e-5

    def slope(along):
        above, below = (error(value) for value in (along(step), along(-step)))
        return float(above - below) / (2 * step)

    for place in range(scale.numel()):
        one = F.one_hot(torch.tensor(place), scale.numel()).to(WIDE).view_as(scale)
        wanted = slope(lambda h, one=one: (scale + h * one) * codes)
        assert float(quantiser.scale.grad.flatten()[place]) == pytest.approx(wanted, abs=1e-9)
    for place in range(0, start.numel(), 5):
        one = F.one_hot(torch.tensor(place), start.numel()).to(WIDE).view_as(start)
        wanted = slope(lambda h, one=one: scale * (codes + h * one))
        assert float(weight.grad.flatten()[place]) == pytest.approx(wanted, abs=1e-9)


def test_the_printed_gradient_can_miss_the_way_down():
    """E = ½ Σ (α·Q − t)² with Q = (1, −1), t = (2, −2), α = 1: dE/dα = −2, and eq. 5.10 gives 0."""
    weight = torch.tensor([[1.0, -1.0]])
    found = {}
    for kind in ("chain", "printed"):
        quantiser = Symmetric(weight, "layer", scale_gradient=kind)
        (quantiser(weight) - 2 * weight).square().sum().div(2).backward()
        found[kind] = float(quantiser.scale.grad)
    assert found == {"chain": -2, "printed": 0}


def test_slopes_are_summed_over_what_was_broadcast_and_skip_what_needs_none():
    narrow, wide = torch.ones(1, 3, requires_grad=True), torch.ones(2, 3)
    out = with_slopes(torch.zeros(2, 3), (narrow, torch.tensor(2.0)), (wide, torch.ones(2, 3)))
    out.backward(torch.tensor([[1.0, 2, 3], [4, 5, 6]]))
    assert out.tolist() == [[0] * 3] * 2 and narrow.grad.tolist() == [[10, 14, 18]]
    assert wide.grad is None


# Activations


@given(
    st.integers(1, 8),
    st.integers(-2, 10),
    st.lists(st.floats(-300, 300, width=32, allow_subnormal=False), min_size=1, max_size=30),
)
def test_activations_are_the_fixed_point_of_the_thesis(bits, fraction_bits, numbers):
    grid = fixed_point_grid(bits, fraction_bits, signed=False)
    steps = grid.scale * np.arange(-1, 5) / 2  # levels and the ties between them
    x = np.asarray([*numbers, *steps, 0.49999997], np.float32)
    ours = FixedPoint(bits, fraction_bits)
    assert np.array_equal(ours(torch.from_numpy(x)).numpy(), grid(x).astype(np.float32))
    assert ours.highest == 2.0 ** (bits - fraction_bits) - 2.0**-fraction_bits


def test_activations_pass_the_gradient_where_nothing_is_clipped():
    x = torch.tensor([-0.1, 0.0, 0.4, 1.75, 1.76, 5.0], requires_grad=True)
    out = FixedPoint(3, 2)(x)
    out.backward(torch.full_like(x, 3))
    assert out.tolist() == [0, 0, 0.5, 1.75, 1.75, 1.75]
    assert x.grad.tolist() == [0, 3, 3, 3, 0, 0]


# What is deployed


@settings(max_examples=60)
@given(st.data())
def test_codes_and_scales_give_what_the_rounded_weights_give(data):
    def draw(low, high):
        return data.draw(st.integers(low, high))

    groups = draw(1, 2)
    how = {
        "kernel_size": (draw(1, 4), draw(1, 4)),
        "stride": (draw(1, 3), draw(1, 3)),
        "dilation": (draw(1, 2), draw(1, 2)),
        "padding": (draw(0, 3), draw(0, 3)),
        "padding_mode": data.draw(st.sampled_from(["zeros", "replicate"])),
        "bias": data.draw(st.booleans()),
        "groups": groups,
    }
    dtype = data.draw(st.sampled_from([torch.float32, WIDE]))
    torch.manual_seed(draw(0, 99))
    layer = nn.Conv2d(2 * groups, 2 * groups, **how).to(dtype)
    x = torch.randn(2, 2 * groups, draw(8, 11), draw(8, 11), dtype=dtype)
    granularity = data.draw(st.sampled_from(GRANULARITIES))
    quantiser = for_layer(layer, granularity, eta=data.draw(st.sampled_from([BINARY, TERNARY])))
    with torch.no_grad():
        dense = Quantised(layer, nn.Identity(), quantiser)(x)
        ours = Decomposed(layer, quantiser)(x)
        whole = copy.deepcopy(layer)
        whole.weight.copy_(quantiser(layer.weight).abs())
        if whole.bias is not None:
            whole.bias.abs_()
        # Both sums of n products are within n + 2 roundings, in any order, of the exact one.
        roundings = layer.weight[0].numel() + quantiser.scale.numel() + 3
        bound = 2 * roundings * torch.finfo(dtype).eps * whole(x.abs())
    assert ours.shape == dense.shape
    assert ((ours - dense).abs() <= bound).all()


@pytest.mark.parametrize("eta", [BINARY, TERNARY])
@pytest.mark.parametrize("bias", [True, False])
def test_a_fully_connected_layer_from_codes_and_its_scale(eta, bias):
    torch.manual_seed(5)
    layer = nn.Linear(6, 4, bias=bias, dtype=WIDE)
    quantiser = for_layer(layer, "pixel", eta=eta)
    x = torch.randn(3, 6, dtype=WIDE)
    ours = Decomposed(layer, quantiser)
    dense = Quantised(layer, nn.Identity(), quantiser)(x)
    assert quantiser.granularity == "layer" and ours.scales.shape == (1,)
    assert torch.allclose(ours(x), dense, rtol=0, atol=1e-14)
    assert list(ours.parameters()) == [] and ours.matrix().shape == (1, 24)


@every_granularity
def test_the_matrix_of_codes_times_the_diagonal_is_the_weights(granularity):
    """K² × (I·N), K × (I·N·K) or 1 × Z: one row a scale, as diag(α) needs (section 5.4.1)."""
    torch.manual_seed(6)
    layer = nn.Conv2d(4, 5, 3)
    quantiser = for_layer(layer, granularity)
    ours = Decomposed(layer, quantiser)
    sizes = reference.load("faraone2021", "equation_section_5_4_1").set_index("quantity")["value"]
    printed = {"pixel": sizes["diagonal_size_pixel"], "row": sizes["diagonal_size_row"]}
    side = eval(printed.get(granularity, "1").replace("^", "**"), {"K": 3})
    assert ours.codes.dtype == torch.int8 and ours.matrix().shape == (side, 180 // side)
    product = torch.diag(ours.scales) @ ours.matrix().float()
    weights = quantiser(layer.weight).permute(2, 3, 1, 0).reshape(side, -1)
    assert torch.equal(product, weights)


# What is refused

FOUR = "weight must be a float tensor (outputs, inputs) or (outputs, inputs, rows, columns) with "


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (
            lambda: Symmetric(WEIGHT, "kernel"),
            "granularity must be one of pixel, row, layer, not 'kernel'.",
        ),
        (
            lambda: for_layer(nn.Linear(2, 2), "filter"),
            "granularity must be one of pixel, row, layer, not 'filter'.",
        ),
        *(
            (
                lambda granularity=granularity: Symmetric(torch.ones(2, 3), granularity),
                "granularity of a fully connected layer must be layer, as it has no kernel, not "
                f"'{granularity}'.",
            )
            for granularity in ("pixel", "row")
        ),
        *(
            (
                lambda eta=eta: Symmetric(WEIGHT, eta=eta),
                f"eta must be a number from 0 to below 1, not {eta!r}.",
            )
            for eta in (-0.01, 1, 1.0, float("nan"), float("inf"), "0.05", True, None)
        ),
        (
            lambda: Symmetric(WEIGHT, scale_gradient="exact"),
            "scale_gradient must be one of chain, printed, not 'exact'.",
        ),
        (
            lambda: Symmetric(torch.ones(3), "layer"),
            f"{FOUR}numbers in it, not torch.float32 of shape (3,).",
        ),
        (
            lambda: Symmetric(torch.ones(0, 3), "layer"),
            f"{FOUR}numbers in it, not torch.float32 of shape (0, 3).",
        ),
        (
            lambda: Symmetric(torch.ones(1, 1, 2, 2, dtype=torch.int64)),
            f"{FOUR}numbers in it, not torch.int64 of shape (1, 1, 2, 2).",
        ),
        (
            lambda: Symmetric(WEIGHT)(WEIGHT[:1]),
            "weight must be of shape (2, 1, 2, 2), as it was at the start, not (1, 1, 2, 2).",
        ),
        (lambda: FixedPoint(0, 0), "bits must be a whole number from 1 to 16, not 0."),
        (lambda: FixedPoint(17, 0), "bits must be a whole number from 1 to 16, not 17."),
        (lambda: FixedPoint(2.0, 0), "bits must be a whole number from 1 to 16, not 2.0."),
        (
            lambda: FixedPoint(2, 0.5),
            "fraction_bits must be a whole number from -16 to 32, not 0.5.",
        ),
    ],
)
def test_refused(ask, said):
    with pytest.raises(QuantiserError) as caught:
        ask()
    assert str(caught.value) == said
