"""Codebooks: nearest coefficients, both gradients, and uniform ones as another module has them."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import nn
from torch.nn import functional as F

from qbench import reference
from qbench.models.resnet import resnet8x4
from qbench.quantizers import codebook, networks
from qbench.quantizers.codebook import GRADIENTS, Codebook, checked, uniform
from qbench.quantizers.errors import QuantiserError
from qbench.quantizers.formats import symmetric_grid
from qbench.quantizers.networks import Quantised

WIDE = torch.float64
SMALL = (-5, -1, 0, 1, 5)
# M = 10, so that λ = 2: 5 is a midpoint (2.5 steps, between 1 and 5 lies 3: 6)
WEIGHT = torch.tensor([[10.0, -6.0, 6.2, 1.0], [-1.1, 0.0, -7.5, 5.9]], dtype=WIDE)
CODES = [[5, -1, 5, 0], [-1, 0, -5, 1]]
GRADIENT = torch.arange(1.0, 9.0, dtype=WIDE).view(2, 4)

every_gradient = pytest.mark.parametrize("gradient", GRADIENTS)
codebooks = st.sets(st.integers(-300, 300), min_size=1, max_size=40).map(
    lambda found: tuple(sorted(found | {0}))
)
codebooks = codebooks.filter(lambda found: len(found) > 1)
kernels = arrays.arrays(
    np.float64,
    st.one_of(
        st.tuples(st.integers(1, 5), st.integers(1, 5)),
        st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)),
    ),
    elements=st.floats(-4, 4, allow_subnormal=False),
).map(torch.from_numpy)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


# Forwards


def test_nearest_coefficients_worked_out_by_hand():
    quantiser = Codebook(WEIGHT, SMALL)
    assert quantiser.scale.item() == 10 and float(quantiser.unit) == 2
    assert quantiser.codes(WEIGHT).tolist() == CODES  # −6 and 1 are midpoints: towards 0
    assert quantiser(WEIGHT).tolist() == [[2.0 * one for one in row] for row in CODES]
    with torch.no_grad():
        quantiser.scale.fill_(5)  # λ = 1, M = 5: what is beyond becomes ±M
    assert quantiser.codes(WEIGHT).tolist() == [[5, -5, 5, 1], [-1, 0, -5, 5]]


@given(kernels, codebooks, st.floats(0.01, 8))
def test_no_coefficient_is_nearer(weight, coefficients, scale):
    """By trying them all: eq. 6.3, with the sign."""
    quantiser = Codebook(weight, coefficients).to(WIDE)
    with torch.no_grad():
        quantiser.scale.fill_(scale)
    unit = float(quantiser.unit)
    assert unit == pytest.approx(scale / max(abs(coefficients[0]), coefficients[-1]))
    value = quantiser(weight).detach()
    distances = (torch.tensor(coefficients, dtype=WIDE) * unit - weight[..., None]).abs()
    assert value.shape == weight.shape
    rounding = 1e-12 * (1 + weight.abs())
    assert ((value - weight).abs() <= distances.amin(-1) + rounding).all()
    assert set(quantiser.codes(weight).flatten().tolist()) <= set(coefficients)


@given(kernels, st.integers(2, 8))
def test_uniform_codebooks_round_as_the_symmetric_grid(weight, bits):
    """Vailakis' narrow grid is the same fixed point, in NumPy; only its ties go elsewhere."""
    most = float(weight.abs().max())
    assume(most > 1e-3)
    grid = symmetric_grid(bits, most)
    ours = Codebook(weight, uniform(bits)).to(WIDE)(weight).detach().numpy()
    steps = weight.numpy() / grid.scale
    tied = np.abs(np.abs(steps - np.floor(steps)) - 0.5) < 1e-9
    assert np.allclose(ours[~tied], grid(weight.numpy())[~tied], rtol=1e-12, atol=1e-12)
    assert np.all(np.abs(ours[tied] - weight.numpy()[tied]) <= grid.scale * (0.5 + 1e-9))


@given(kernels, st.sets(st.integers(1, 200), min_size=1, max_size=20))
def test_symmetric_codebooks_keep_the_sign_that_equation_6_3_loses(weight, magnitudes):
    both = sorted({*magnitudes, 0, *(-one for one in magnitudes)})
    quantiser = Codebook(weight, both)
    value = quantiser(weight).detach()
    assert torch.equal(quantiser(-weight).detach(), -value)
    assert (value * weight >= 0).all()
    # As printed, arg min over the positive coefficients for |w|: the size is the same
    positive = torch.tensor([one for one in both if one >= 0], dtype=WIDE) * quantiser.unit
    least = (positive - weight.abs()[..., None]).abs().amin(-1)
    found = (value.abs() - weight.abs()).abs()
    assert torch.allclose(found, least, rtol=0, atol=1e-9)


@given(kernels, codebooks, st.sampled_from([0.25, 8.0]))
def test_larger_weights_have_the_same_codes(weight, coefficients, factor):
    small, large = Codebook(weight, coefficients), Codebook(weight * factor, coefficients)
    assume(small.scale.item() > 1e-3)
    assert torch.equal(small.codes(weight), large.codes(weight * factor))
    assert large.scale.item() == small.scale.item() * factor


def test_published_sets_are_codebooks_and_take_their_bits():
    rows = reference.load("faraone2021", "table_6_2")
    for rccm, bits in (("2-Add", 4), ("3-Add", 6), ("4-Add", 8)):
        part = rows[(rows["rccm"] == rccm) & (rows["quantity"] == "coefficient_magnitude")]
        found = {int(one) for one in part["value"]}
        quantiser = Codebook(WEIGHT, sorted(found | {-one for one in found}))
        assert quantiser.index_bits == bits
        sizes = rows[(rows["rccm"] == rccm) & (rows["quantity"] == "coefficients")]
        assert len(quantiser.coefficients) == int(sizes["value"].iloc[0])


def test_layouts_do_not_matter():
    weight = torch.randn(8, 4, 3, 3, generator=seeded(1))
    rows, columns = weight.contiguous(), weight.to(memory_format=torch.channels_last)
    quantiser = Codebook(weight, SMALL)
    assert torch.equal(quantiser(rows), quantiser(columns))
    for other in (weight.permute(1, 0, 3, 2)[::2], weight[0, 0].t(), weight[:, :1], weight[..., 1]):
        assert torch.equal(quantiser(other), quantiser(other.contiguous()))
    assert quantiser(columns).is_contiguous(memory_format=torch.channels_last)


def test_weights_that_are_no_numbers_do_not_stop_a_training_on_the_way_to_its_loss():
    quantiser = Codebook(WEIGHT, SMALL)
    assert quantiser.codes(torch.tensor([torch.inf, -torch.inf, torch.nan])).tolist() == [5, -5, 0]
    with torch.no_grad():
        quantiser.scale.fill_(torch.nan)
    assert quantiser(WEIGHT).isnan().all()


def test_weights_that_are_all_zero_stay_so():
    quantiser = Codebook(torch.zeros(2, 3), SMALL)
    assert quantiser(torch.zeros(2, 3)).tolist() == [[0] * 3] * 2
    assert float(quantiser.unit) > 0


# Backwards


def gradients(quantiser, weight=WEIGHT, arriving=GRADIENT):
    """By the weights, and by M."""
    weight = weight.clone().requires_grad_()
    quantiser(weight).backward(arriving)
    return weight.grad, float(quantiser.scale.grad)


def test_gradients_worked_out_by_hand():
    quantiser = Codebook(WEIGHT, SMALL, gradient="codes").to(WIDE)
    by_weight, by_scale = gradients(quantiser)
    assert torch.equal(by_weight, GRADIENT)  # eq. 6.4
    # By λ Σ g·c = 5 − 2 + 15 + 0 − 5 + 0 − 35 + 8 = −14; M = 5·λ
    assert by_scale == pytest.approx(-14 / 5)
    quantiser = Codebook(WEIGHT, SMALL).to(WIDE)
    by_weight, by_scale = gradients(quantiser)
    # Σ g·(c − w/λ): less Σ g·w/2 = 5 − 6 + 9.3 + 2 − 2.75 + 0 − 26.25 + 23.6 = 4.9
    assert torch.equal(by_weight, GRADIENT) and by_scale == pytest.approx((-14 - 4.9) / 5)
    with torch.no_grad():
        quantiser.scale.fill_(7)  # M = 7: 10 and −7.5 are beyond, λ = 1.4
    quantiser.scale.grad = None
    by_weight, by_scale = gradients(quantiser)
    assert by_weight.tolist() == [[0, 2, 3, 4], [5, 6, 0, 8]]
    codes = torch.tensor([[5.0, -5, 5, 1], [-1, 0, -5, 5]], dtype=WIDE)
    steps = torch.where(WEIGHT.abs() > 7, 0.0, WEIGHT / 1.4)
    assert by_scale == pytest.approx(float((GRADIENT * (codes - steps)).sum() / 5))


@every_gradient
@pytest.mark.parametrize("coefficients", [SMALL, (-92, -44, -8, 0, 8, 44, 92), (0, 3), (-7, 0, 2)])
def test_gradients_are_the_slopes_of_a_smooth_surrogate(gradient, coefficients):
    """Central differences of what each gradient takes the rounded weights for.

    "codes": λ · c₀ + (w − w₀). "clipped": λ · (c₀ + v − v₀) with v = clip(w / λ), smooth but where
    clipping begins. Both are the rounded weights at w₀ and λ₀.
    """
    start = torch.randn(3, 2, 3, 3, generator=seeded(2), dtype=WIDE)
    images = torch.randn(2, 2, 6, 6, generator=seeded(3), dtype=WIDE)
    goal = torch.randn(2, 3, 6, 6, generator=seeded(4), dtype=WIDE)
    quantiser = Codebook(start, coefficients, gradient=gradient).to(WIDE)
    with torch.no_grad():
        quantiser.scale.mul_(0.6)  # some weights are beyond

    def error(value):
        return (F.conv2d(images, value, padding=1).tanh() - goal).square().mean()

    weight = start.clone().requires_grad_()
    error(quantiser(weight)).backward()
    most = max(abs(coefficients[0]), coefficients[-1])
    limit, codes = quantiser.scale.item(), quantiser.codes(start)

    def clipped(values, scale):
        return (values * most / scale).clamp(coefficients[0], coefficients[-1])

    assert (clipped(start, limit) != start * most / limit).any()

    def surrogate(values, scale):
        if gradient == "codes":
            return scale / most * codes + values - start
        return scale / most * (codes + clipped(values, scale) - clipped(start, limit))

    assert torch.allclose(surrogate(start, limit), quantiser(start))
    step = 1e-6

    def slope(along):
        return float(error(along(step)) - error(along(-step))) / (2 * step)

    wanted = slope(lambda h: surrogate(start, limit + h))
    assert float(quantiser.scale.grad) == pytest.approx(wanted, abs=1e-8)
    for place in range(0, start.numel(), 4):
        one = F.one_hot(torch.tensor(place), start.numel()).to(WIDE).view_as(start)
        wanted = slope(lambda h, one=one: surrogate(start + h * one, limit))
        assert float(weight.grad.flatten()[place]) == pytest.approx(wanted, abs=1e-8)


@every_gradient
def test_a_scale_that_an_optimiser_threw_across_zero_means_the_same_and_comes_back(gradient):
    there, back = (Codebook(WEIGHT, SMALL, gradient=gradient).to(WIDE) for _ in range(2))
    with torch.no_grad():
        back.scale.neg_()
    assert torch.equal(there(WEIGHT), back(WEIGHT))
    assert gradients(there)[1] == -gradients(back)[1]


# In a network


@every_gradient
def test_a_network_learns_weights_and_scales(gradient):
    torch.manual_seed(7)
    model = resnet8x4(channels=(16, 16, 16, 16))
    many = uniform(8)

    def quantised(model):
        return networks.quantised(
            model,
            lambda layer: Codebook(layer.weight, SMALL, gradient=gradient),
            outer=lambda layer: Codebook(layer.weight, many, gradient=gradient),
        )

    quantised(model)
    found = [m for m in model.modules() if isinstance(m, Quantised)]
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(found) == len(layers)
    sizes = [len(one.weights.coefficients) for one in found]
    assert sizes == [255] + [5] * (len(found) - 2) + [255]
    before = [one.weights.scale.item() for one in found]
    images, labels = torch.randn(8, 3, 32, 32), torch.arange(8)
    optimiser = torch.optim.Adam(model.parameters(), 0.003)
    losses = []
    for _ in range(6):
        loss = F.cross_entropy(model(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert all(one.weights.scale.item() != old for one, old in zip(found, before, strict=True))
    again = quantised(resnet8x4(channels=(16, 16, 16, 16))).eval()
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(images), model.eval()(images))


# What is refused

ROW = "a codebook must be whole numbers in a row, not "


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: checked([]), "a codebook must have at least 2 coefficients, not 0: with one all "),
        (
            lambda: checked([0]),
            "a codebook must have at least 2 coefficients, not 1: with one all ",
        ),
        (
            lambda: checked([-9, -2, 3]),
            "a codebook must include 0, and the coefficient nearest to it is -2.",
        ),
        (lambda: checked([0.0, 1.0]), f"{ROW}[0.0, 1.0]."),
        (lambda: checked([False, True]), f"{ROW}[False, True]."),
        (lambda: checked([[0, 1], [2, 3]]), f"{ROW}[[0, 1], [2, 3]]."),
        (lambda: checked([[0, 1], [2]]), f"{ROW}[[0, 1], [2]]."),
        (lambda: checked(7), f"{ROW}7."),
        (lambda: checked("0 1"), f"{ROW}'0 1'."),
        (
            lambda: checked([1, 0]),
            "a codebook must be in ascending order, each coefficient once.",
        ),
        (
            lambda: checked([0, 0, 1]),
            "a codebook must be in ascending order, each coefficient once.",
        ),
        (
            lambda: checked(np.array([0, 2**15])),
            "a codebook must have coefficients from -32767 to 32767, and this one has 0 to 32768.",
        ),
        *(
            (
                lambda bits=bits: uniform(bits),
                f"bits must be a whole number from 2 to 8, not {bits!r}.",
            )
            for bits in (1, 9, 4.0, True, "4", None)
        ),
        (
            lambda: Codebook(WEIGHT, SMALL, gradient="printed"),
            "gradient must be one of clipped, codes, not 'printed'.",
        ),
        (
            lambda: Codebook(torch.ones(2, 0), SMALL),
            "weight must be a float tensor with numbers in it, not torch.float32 of shape (2, 0).",
        ),
        (
            lambda: Codebook(torch.ones(2, dtype=torch.int64), SMALL),
            "weight must be a float tensor with numbers in it, not torch.int64 of shape (2,).",
        ),
    ],
)
def test_refused(ask, said):
    with pytest.raises(QuantiserError) as caught:
        ask()
    found = str(caught.value)
    assert found.startswith(said) and found.endswith(".") and "\n" not in found


@given(codebooks)
def test_codebooks_of_any_whole_type_are_taken(coefficients):
    for kind in (list, np.array, lambda found: np.asarray(found, np.int16)):
        assert checked(kind(coefficients)) == coefficients
    assert codebook.index_bits(coefficients) == int(np.ceil(np.log2(len(coefficients))))
