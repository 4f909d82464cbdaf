"""Quantisers that find their range: running averages, learnt intervals, and what passes back."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from qbench.quantizers import ranges
from qbench.quantizers.formats import affine_grid, symmetric_grid
from qbench.quantizers.ranges import AVERAGING, Fixed, Learnt, MinMax
from qbench.quantizers.straight_through import affine_through

numbers = arrays.arrays(
    np.float32, st.integers(2, 40), elements=st.floats(-8, 8, width=32, allow_subnormal=False)
)
bits = st.integers(1, 8)


def seen(quantiser, *tensors):
    quantiser.train()
    for tensor in tensors:
        quantiser(tensor)
    return quantiser.eval()


@given(numbers, bits, st.booleans())
def test_min_max_rounds_as_the_thesis_equations(x, width, signed):
    low, high = min(0.0, float(x.min())), max(0.0, float(x.max()))
    assume(high - low > 1e-3)
    grid = affine_grid(width, low, high, signed=signed)
    ours = seen(MinMax(width, signed=signed), torch.from_numpy(x))(torch.from_numpy(x)).numpy()
    steps = x.astype(float) / grid.scale + grid.zero_point
    clear = np.abs(steps - np.floor(steps) - 0.5) > 1e-3  # float32 may fall on a tie's other side
    np.testing.assert_allclose(ours[clear], grid(x)[clear], atol=1e-4 * (high - low))
    assert len(np.unique(ours)) <= 2**width


@given(numbers, bits)
def test_zero_stays_zero(x, width):
    quantiser = seen(MinMax(width, signed=True), torch.from_numpy(x))
    assert float(quantiser(torch.zeros(1))) == 0


def test_the_range_is_a_running_average_of_minimum_and_maximum():
    quantiser = seen(MinMax(8, signed=False), torch.tensor([-1.0, 2.0]), torch.tensor([-3.0, 4.0]))
    assert float(quantiser.low) == pytest.approx(-1 + AVERAGING * -2)
    assert float(quantiser.high) == pytest.approx(2 + AVERAGING * 2)


@pytest.mark.parametrize("kind", [MinMax, Learnt])
def test_evaluation_changes_nothing(kind):
    quantiser = seen(kind(4, signed=True), torch.tensor([-1.0, 2.0]))
    before = {name: value.clone() for name, value in quantiser.state_dict().items()}
    quantiser(torch.tensor([-30.0, 40.0]))
    after = quantiser.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("kind", [MinMax, Learnt])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("width", [1, 3, 8])
def test_a_group_rounds_as_it_would_alone(kind, groups, width):
    x = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(1))
    together = seen(kind(width, groups, signed=True), x)(x)
    for part, rounded in zip(x.chunk(groups), together.chunk(groups), strict=True):
        assert torch.equal(seen(kind(width, signed=True), part)(part), rounded)


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_the_gradient_passes_where_nothing_is_clipped(width):
    quantiser = seen(MinMax(width, signed=False), torch.tensor([0.0, 1.0]))
    x = torch.tensor([-5.0, 0.1, 0.9, 5.0], requires_grad=True)
    quantiser(x).sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 0]


@given(numbers, st.integers(2, 8))
def test_a_learnt_interval_rounds_to_the_symmetric_grid(x, width):
    assume(np.abs(x).max() > 1e-3)
    quantiser = seen(Learnt(width, signed=True), torch.from_numpy(x))
    grid = symmetric_grid(width, float(quantiser.interval.detach()))
    ours = quantiser(torch.from_numpy(x)).detach().numpy()
    steps = x.astype(float) / grid.scale
    clear = np.abs(steps - np.floor(steps) - 0.5) > 1e-3
    np.testing.assert_allclose(ours[clear], grid(x)[clear], rtol=1e-4, atol=1e-5)


@given(numbers, bits, st.booleans())
def test_a_learnt_interval_starts_no_worse_than_at_the_largest_number(x, width, signed):
    assume(np.abs(x).max() > 1e-3)
    x = torch.from_numpy(x)
    chosen = seen(Learnt(width, signed=signed), x)
    largest = Learnt(width, signed=signed).eval()
    largest.interval.data[:] = x.abs().max()
    errors = [float((quantiser(x) - x).detach().square().sum()) for quantiser in (chosen, largest)]
    assert errors[0] <= errors[1] * (1 + 1e-5) + 1e-6


@pytest.mark.parametrize("groups", [1, 2])
def test_many_numbers_start_an_interval_where_all_of_them_would(monkeypatch, groups):
    x = torch.randn(2, 16, 64, 64, generator=torch.Generator().manual_seed(3)).relu()
    x *= torch.linspace(0.2, 2, 64)  # columns of an image differ
    whole = seen(Learnt(3, groups, signed=False), x)
    monkeypatch.setattr(ranges, "SAMPLE", 2**11)
    sampled = seen(Learnt(3, groups, signed=False), x)
    step = float(x.max()) / ranges.STARTS
    np.testing.assert_allclose(sampled.interval.detach(), whole.interval.detach(), atol=2.01 * step)


def test_the_gradient_of_an_interval_is_the_error_of_rounding():
    """d(s·round(x/s))/ds = round(x/s) − x/s inside, the end code outside, s = I / 7 at 4 bits."""
    quantiser = Learnt(4, signed=True).eval()
    quantiser.interval.data[:] = 1.4
    x = torch.tensor([0.33, -0.52, 3.0, -3.0])
    upstream = torch.tensor([1.0, 2.0, 3.0, 4.0])
    (quantiser(x) * upstream).sum().backward()
    steps = x.numpy().astype(float) / 0.2
    each = np.where(np.abs(steps) <= 7, np.rint(steps) - steps, np.sign(steps) * 7)
    expected = (each * upstream.numpy()).sum() / 7 / np.sqrt(4 * 7)
    assert float(quantiser.interval.grad) == pytest.approx(expected, rel=1e-5)


def test_two_bits_that_start_at_the_largest_weight_would_lose_nearly_all():
    x = torch.randn(5000, generator=torch.Generator().manual_seed(2))
    largest = Learnt(2, signed=True).eval()
    largest.interval.data[:] = x.abs().max()
    chosen = seen(Learnt(2, signed=True), x)
    zeros = [float((quantiser(x) == 0).float().mean()) for quantiser in (largest, chosen)]
    assert zeros[0] > 0.9 > 0.6 > zeros[1]


@pytest.mark.parametrize("kind", [MinMax, Learnt])
@pytest.mark.parametrize("groups", [1, 3])
def test_fixed_rounds_as_before(kind, groups):
    x = torch.randn(3, 50, generator=torch.Generator().manual_seed(3))
    quantiser = seen(kind(8, groups, signed=True), x)
    rounded = quantiser(x).detach()
    np.testing.assert_allclose(Fixed(quantiser)(rounded), rounded, atol=1e-6)
    if groups == 1 or kind is MinMax:
        np.testing.assert_allclose(Fixed(quantiser)(3 * x), quantiser(3 * x).detach(), atol=1e-6)


def test_one_learnt_bit_has_no_integers():
    with pytest.raises(ValueError, match="-1 and \\+1"):
        Fixed(Learnt(1, signed=True))


@given(numbers, bits, st.booleans(), st.integers(-300, 300))
def test_rounding_and_its_gradient_are_those_of_pytorch(x, width, signed, zero):
    quantiser = MinMax(width, signed=signed)
    zero = int(np.clip(zero, quantiser.lowest, quantiser.highest))
    scale = torch.tensor([0.37])
    ours, theirs = (torch.from_numpy(x).requires_grad_() for _ in range(2))
    codes = quantiser.lowest, quantiser.highest
    rounded = affine_through(ours, scale, zero, *codes)
    steps = x.astype(float) / 0.37
    clear = np.abs(steps - np.floor(steps) - 0.5) > 1e-3  # ties: PyTorch rounds before it adds z
    expected = torch.fake_quantize_per_tensor_affine(
        theirs, scale, torch.tensor([zero], dtype=torch.int32), *codes
    )
    rounded.sum().backward(), expected.sum().backward()
    torch.testing.assert_close(rounded[clear], expected[clear])
    assert torch.equal(ours.grad[clear], theirs.grad[clear])
