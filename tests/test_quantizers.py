"""Every quantiser against its publication, and the properties that make it a quantiser."""

import csv
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from qbench import paths
from qbench.quantizers import formats

FEW = settings(max_examples=25, deadline=None)  # each example runs every bit width
BITS = range(1, 9)
EVERY_WIDTH = pytest.mark.parametrize("bits", BITS)

# name -> (grid at this bit width, number of levels at n ≥ 2, odd everywhere but at zero with 1 bit)
QUANTISERS = {
    "stewart_weight": (formats.stewart_grid, lambda n: 2**n - 1, True),
    "symmetric": (lambda n: formats.symmetric_grid(n, 1.3), lambda n: 2**n - 1, True),
    "symmetric, wide": (
        lambda n: formats.symmetric_grid(n, 1.3, narrow=False),
        lambda n: 2**n,
        False,
    ),
    "affine": (lambda n: formats.affine_grid(n, -0.4, 2.9), lambda n: 2**n, False),
    "affine, signed": (
        lambda n: formats.affine_grid(n, -0.4, 2.9, signed=True),
        lambda n: 2**n,
        False,
    ),
    "fixed_point": (lambda n: formats.fixed_point_grid(n, 2), lambda n: 2**n, False),
    "fixed_point, unsigned": (
        lambda n: formats.fixed_point_grid(n, 2, signed=False),
        lambda n: 2**n,
        False,
    ),
}
EVERY_QUANTISER = pytest.mark.parametrize("name", QUANTISERS)
REALS = arrays(np.float64, st.integers(1, 40), elements=st.floats(-9, 9, allow_subnormal=False))
# Sums of these and of small powers of two are exact in float64.
BINARY_FRACTIONS = arrays(np.int64, 20, elements=st.integers(-(2**23), 2**23)).map(
    lambda whole: whole / 2**20
)


def rows(source: str, table: str) -> list[dict[str, str]]:
    with open(paths.PAPER / source / f"{table}.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def grids(name: str) -> list[formats.Grid]:
    """The quantiser's grid at every bit width, 1 bit first."""
    return [QUANTISERS[name][0](bits) for bits in BITS]


# --- the publications -----------------------------------------------------------------------------

TABLE_1 = [
    (float(row["x"]), int(row["bits"]), float(row["value"]))
    for row in rows("stewart2021", "table_1")
    if row["quantity"] == "quantised_weight"
]


def test_table_1_is_complete():
    assert len(TABLE_1) == 40
    assert {bits for _, bits, _ in TABLE_1} == set(BITS)


@pytest.mark.parametrize(("x", "bits", "published"), TABLE_1)
def test_stewart_weight_gives_table_1(x, bits, published):
    assert formats.stewart_weight(x, bits) == published


def test_table_1_leaves_the_tie_rule_open():
    steps = [x * 2.0 ** (bits - 2) for x, bits, _ in TABLE_1 if bits > 1]
    assert not any(value % 1 == 0.5 for value in steps)


def test_eq1_as_printed_contradicts_table_1():
    agree = [(x, n) for x, n, value in TABLE_1 if formats.stewart_eq1_as_printed(x, n) == value]
    assert agree == [(0.136, 2)]
    assert formats.stewart_eq1_as_printed(0.357, 3) == 1.0  # Table 1: 0.5
    assert [float(formats.stewart_eq1_as_printed(2, n)) for n in BITS] == [8.0] * 8


@FEW
@given(x=BINARY_FRACTIONS)
@EVERY_WIDTH
def test_eq1_as_printed_is_four_times_a_truncation(bits, x):
    """The terms beside ⌊2ⁿx⌋ cancel, so that what is left is about 4x."""
    expected = np.floor(2.0**bits * x) / 2.0 ** (bits - 2)
    np.testing.assert_array_equal(formats.stewart_eq1_as_printed(x, bits), expected)


@FEW
@given(x=REALS)
@pytest.mark.parametrize("bits", range(2, 9))
def test_eq1_corrected_is_stewart_weight(bits, x):
    """With 2^(n−2) for 2ⁿ, rounding for the floor, and x clipped to the range it is stated for."""
    step, top = 2.0 ** (2 - bits), 2 - 2.0 ** (2 - bits)
    inside = np.clip(x, -top, top)
    corrected = np.rint(inside / step + 2 ** (bits - 1) - 1) * step - 2 + step
    tie = np.abs(inside / step) % 1 == 0.5
    np.testing.assert_array_equal(corrected[~tie], formats.stewart_weight(x, bits)[~tie])


def test_integer_range_gives_vailakis_table_3_2():
    table = {}
    for row in rows("vailakis2022", "table_3_2"):
        table.setdefault(row["data_type"], {})[row["quantity"]] = int(row["value"])
    assert set(table) == {"int16", "uint16", "int8", "uint8", "int4", "uint4"}
    for name, row in table.items():
        ours = formats.integer_range(row["bit_width"], signed=not name.startswith("u"))
        assert ours == (row["minimum"], row["maximum"])


def test_affine_by_hand():
    """Vailakis eqs. 3.6–3.9 on [−0.5, 1] with 2 bits: s = 1.5/3, z = round(−(−0.5)·3/1.5) = 1."""
    grid = formats.affine_grid(2, -0.5, 1.0)
    assert (grid.scale, grid.zero_point, grid.lowest, grid.highest) == (0.5, 1, 0, 3)
    assert grid.quantise([-9, -0.5, 0, 0.3, 1, 9]).tolist() == [0, 0, 1, 2, 3, 3]
    assert grid([-9, -0.5, 0, 0.3, 1, 9]).tolist() == [-0.5, -0.5, 0, 0.5, 1, 1]
    assert formats.affine(0.3, 2, -0.5, 1.0) == 0.5


def test_symmetric_by_hand():
    assert formats.symmetric_grid(4, 1.4).scale == pytest.approx(0.2)
    assert formats.symmetric([-9, 0.29, 0.31, 9], 4, 1.4) == pytest.approx([-1.4, 0.2, 0.4, 1.4])
    assert formats.symmetric_grid(8, 255 / 2, narrow=False).scale == 1.0
    assert formats.symmetric([-200, 200], 8, 255 / 2, narrow=False).tolist() == [-128, 127]


def test_eq_3_9_gives_a_zero_point_of_minus_a_half_for_the_signed_range_of_table_3_2():
    lowest, highest = formats.integer_range(8)
    assert (1.0 * lowest - (-1.0) * highest) / (1.0 - (-1.0)) == -0.5
    lowest, highest = formats.integer_range(8, narrow=True)
    assert 1.0 * lowest - (-1.0) * highest == 0


def test_fixed_point_by_hand():
    """Faraone's (4, 0, 3): sign, no integer bit, three fraction bits; and eq. 4.4's bound M."""
    grid = formats.fixed_point_grid(4, 3)
    assert (grid.levels[0], grid.levels[-1], grid.scale) == (-1, 0.875, 0.125)
    assert formats.fixed_point([0.3, -0.3, 5], 4, 3).tolist() == [0.25, -0.25, 0.875]
    for bits, fraction in ((8, 4), (3, 3), (2, 0)):
        top = formats.fixed_point_grid(bits, fraction, signed=False).levels[-1]
        assert top == 2.0 ** (bits - fraction) - 2.0**-fraction


@FEW
@given(x=REALS, fraction=st.integers(-1, 6))
def test_fixed_point_is_eq_2_12_inside_its_range(x, fraction):
    step = 2.0**-fraction
    expected = step * np.floor(x / step + 0.5)
    np.testing.assert_array_equal(formats.fixed_point(x, 16, fraction), expected)


# --- properties of every quantiser, at every bit width --------------------------------------------


@EVERY_QUANTISER
def test_number_of_levels(name):
    for bits, grid in zip(BITS, grids(name), strict=True):
        expected = 2 if bits == 1 else QUANTISERS[name][1](bits)
        assert len(grid.levels) == len(np.unique(grid.levels)) == expected
        assert np.diff(grid.levels) == pytest.approx(grid.scale)


@FEW
@given(x=REALS)
@EVERY_QUANTISER
def test_idempotent(name, x):
    for grid in grids(name):
        once = grid(x)
        np.testing.assert_array_equal(grid(once), once)
        assert np.isin(once, grid.levels).all()
        codes = np.arange(grid.lowest, grid.highest + 1)
        np.testing.assert_array_equal(grid.quantise(grid.levels), codes)


@FEW
@given(x=REALS)
@EVERY_QUANTISER
def test_monotone(name, x):
    for grid in grids(name):
        assert (np.diff(grid(np.sort(x))) >= 0).all()


@FEW
@given(x=REALS)
@EVERY_QUANTISER
def test_error_is_at_most_half_a_step_inside_and_the_end_outside(name, x):
    for grid in grids(name):
        first, last = grid.levels[[0, -1]]
        error = np.abs(grid(x) - np.clip(x, first, last))
        assert (error <= grid.scale / 2 * (1 + 1e-9)).all()
        assert (grid(x)[x >= last] == last).all()
        assert (grid(x)[x <= first] == first).all()


@FEW
@given(x=REALS)
@pytest.mark.parametrize("name", [name for name, (_, _, odd) in QUANTISERS.items() if odd])
def test_odd_where_the_levels_are_symmetric(name, x):
    one_bit, *wider = grids(name)
    for grid in wider:
        np.testing.assert_array_equal(grid(-x), -grid(x))
    x = x[x != 0]  # sign(0) = +1: one bit has no zero
    np.testing.assert_array_equal(one_bit(-x), -one_bit(x))


@FEW
@given(
    low=st.floats(-5, 5), width=st.floats(0.01, 10), share=st.floats(0, 1), bits=st.integers(1, 8)
)
def test_affine_stays_within_half_a_step_on_its_whole_range(low, width, share, bits):
    """Although the rounded zero point shifts the levels by up to half a step."""
    grid = formats.affine_grid(bits, low, low + width)
    x = low + share * width
    assert abs(float(grid(x)) - x) <= grid.scale / 2 * (1 + 1e-6)


@FEW
@given(low=st.floats(-5, -0.01), high=st.floats(0.01, 5), bits=st.integers(1, 8))
def test_affine_represents_zero_exactly(low, high, bits):
    assert formats.affine(0.0, bits, low, high) == 0


@FEW
@given(x=REALS)
def test_quantised_tanh(x):
    for bits in BITS:
        y = formats.quantised_tanh(np.sort(x), bits)
        assert (np.abs(y - np.tanh(np.sort(x))) <= formats.stewart_grid(bits).scale / 2).all()
        assert (np.diff(y) >= 0).all()
        positive = x[x > 0]
        odd = -formats.quantised_tanh(-positive, bits)
        np.testing.assert_array_equal(formats.quantised_tanh(positive, bits), odd)


@EVERY_WIDTH
def test_levels_of_quantised_tanh(bits):
    seen = np.unique(formats.quantised_tanh(np.linspace(-9, 9, 20_001), bits))
    assert len(seen) == (2 if bits == 1 else 2 ** (bits - 1) + 1)
    assert seen[0] == -1 and seen[-1] == 1


# --- shapes, types and errors ---------------------------------------------------------------------


def test_shapes_and_types():
    grid = formats.stewart_grid(3)
    x = np.zeros((2, 0, 3), dtype=np.float32)
    assert grid(x).shape == grid.quantise(x).shape == x.shape
    assert grid(x).dtype == np.float64 and grid.quantise(x).dtype == np.int64
    assert np.shape(grid(0.3)) == ()
    assert grid([-np.inf, np.inf]).tolist() == [-1.5, 1.5]
    assert grid.quantise(np.int64(1)) == 2


def test_storage_bits():
    weights = 1024 * 64 + 2 * 64 * 64 + 64 * 10
    assert formats.storage_bits(weights, 3) == 3 * weights == 223_104
    assert formats.storage_bits(np.int64(10), 32) == 320


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: formats.stewart_weight(0.1, 0),
            "bits must be a whole number from 1 to 16, not 0.",
        ),
        (lambda: formats.stewart_weight(0.1, 17), "not 17."),
        (lambda: formats.stewart_weight(0.1, 3.0), "not 3.0."),
        (lambda: formats.stewart_weight(0.1, True), "not True."),
        (lambda: formats.stewart_eq1_as_printed(0.1, -1), "not -1."),
        (lambda: formats.stewart_weight([0.1, np.nan], 2), "x must hold numbers only, not NaN."),
        (lambda: formats.quantised_tanh(np.nan, 2), "not NaN."),
        (lambda: formats.symmetric(0.1, 3, 0), "max_abs must be a positive finite number, not 0."),
        (lambda: formats.symmetric(0.1, 3, np.inf), "not inf."),
        (lambda: formats.symmetric(0.1, 3, 1e308), "scale must be a positive finite number"),
        (lambda: formats.affine(0.1, 3, 1, 1), "low < high, not 1 and 1."),
        (lambda: formats.affine(0.1, 3, np.nan, 1), "low < high, not nan and 1."),
        (lambda: formats.fixed_point(0.1, 3, 40), "fraction_bits must be a whole number from -16"),
        (lambda: formats.fixed_point(0.1, 3, 1.5), "not 1.5."),
        (lambda: formats.storage_bits(-1, 3), "numbers must be a whole number of at least 0"),
        (lambda: formats.storage_bits(1, 65), "bits must be a whole number from 1 to 64, not 65."),
        (lambda: formats.Grid(1.0, 0, 1, 1), "lowest must be below highest (1), not 1."),
        (lambda: formats.Grid(1.0, 0, 0, 1, "odd"), "ties must be 'even' or 'up', not 'odd'."),
    ],
)
def test_errors_name_the_value_and_what_is_allowed(call, sentence):
    with pytest.raises(ValueError) as error:
        call()
    assert sentence in str(error.value)


def test_formats_needs_no_torch():
    code = "import sys; from qbench.quantizers import formats; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


# --- the straight-through gradient ----------------------------------------------------------------


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def through(torch):
    from qbench.quantizers import straight_through

    return straight_through


def test_round_through(torch, through):
    """L = Σ c·round(x)²: dL/dx = 2c·round(x) by hand, with the rounding's derivative taken as 1."""
    x = torch.tensor([-1.6, -0.5, 0.2, 0.5, 1.5, 2.7], requires_grad=True)
    c = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    y = through.round_through(x)
    assert y.tolist() == [-2, 0, 0, 0, 2, 3]  # ties to even
    (c * y**2).sum().backward()
    assert x.grad.tolist() == [-4, 0, 0, 0, 20, 36]


def test_sign_through(torch, through):
    x = torch.tensor([-1.5, -1.0, -0.3, 0.0, 0.3, 1.0, 1.5], requires_grad=True)
    y = through.sign_through(x)
    assert y.tolist() == [-1, -1, -1, 1, 1, 1, 1]
    (3 * y).sum().backward()
    assert x.grad.tolist() == [0, 3, 3, 3, 3, 3, 0]
    (without_limit,) = torch.autograd.grad(through.sign_through(x, None).sum(), x)
    assert without_limit.tolist() == [1] * 7


def test_quantise_through(torch, through):
    """With step 0.5 and codes −3…3; the gradient of the scale is q − x/s inside, ±3 outside."""
    x = torch.tensor([-9.0, -1.5, -0.6, 0.1, 1.5, 1.6], requires_grad=True)
    scale = torch.tensor(0.5, requires_grad=True)
    y = through.quantise_through(x, scale, -3, 3)
    assert y.tolist() == [-1.5, -1.5, -0.5, 0, 1.5, 1.5]
    y.sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 1, 1, 0]
    by_hand = -3 + 0 + (-1 + 1.2) + (0 - 0.2) + 0 + 3
    assert scale.grad.item() == pytest.approx(by_hand, abs=1e-6)


@FEW
@given(x=REALS, bits=st.integers(2, 8))
def test_torch_and_numpy_agree(through, torch, x, bits):
    lowest, highest = formats.integer_range(bits, narrow=True)
    ours = through.quantise_through(torch.from_numpy(x), 2.0 ** (2 - bits), lowest, highest)
    np.testing.assert_array_equal(ours.numpy(), formats.stewart_weight(x, bits))
    signs = through.sign_through(torch.from_numpy(x))
    np.testing.assert_array_equal(signs.numpy(), formats.stewart_weight(x, 1))


def test_gradients_under_vmap(torch, through):
    x = torch.linspace(-2, 2, 12).reshape(3, 4)

    def gradient(row):
        both = lambda r: (through.sign_through(r) + through.round_through(r)).sum()  # noqa: E731
        return torch.func.grad(both)(row)

    expected = 1.0 + (x.abs() <= 1)
    assert torch.equal(torch.func.vmap(gradient)(x), expected)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda t, x: t.sign_through(x, 0.0),
            "limit must be above 0, or None for no limit, not 0.0.",
        ),
        (lambda t, x: t.quantise_through(x, 1.0, 3, 3), "lowest must be below highest (3), not 3."),
    ],
)
def test_straight_through_errors(torch, through, call, sentence):
    with pytest.raises(ValueError) as error:
        call(through, torch.zeros(1))
    assert str(error.value) == sentence
