"""The cost of a layer: FINN-R's formulas, alone and in arrays, and what they are monotone in."""

import math
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbench import hardware
from qbench.hardware import Cost, HardwareError, convolution, estimate, flip_flops, sliding_window
from qbench.hardware.mvtu import RESOURCES, accumulator, bram18

BITS = st.integers(1, 8)


def divisors(number):
    return [d for d in range(1, number + 1) if number % d == 0]


@st.composite
def layers(draw, most=300):
    """mw, mh, pe, simd."""
    mw, mh = draw(st.integers(1, most)), draw(st.integers(1, most))
    return mw, mh, draw(st.sampled_from(divisors(mh))), draw(st.sampled_from(divisors(mw)))


def same(one: Cost, other: Cost):
    assert asdict(one) == pytest.approx(asdict(other), nan_ok=True)


def as_printed(mw, mh, p, q, w, a, b, signed, weights, thresholds):
    """LUTs as FINN-R has them, in floats and rounded at the end: another reading than ours."""
    omega = mw * mh / (p * q)
    mult = q * (2 * math.ceil((w + a) / 6) - 1) * (w + a)
    add = (w + a) * (2 * q - 1)
    alpha = math.log2(mw) + w + a - 1 - int(signed)
    acc = min(32, math.ceil(alpha + math.log2(1 + 2**-alpha) + 1))
    thr = comp = c2 = 0
    if thresholds == "lut":
        thr = (2**b - 1) * acc * math.ceil((mh / p) / 64)
        comp = (2**b - 1) * acc
    if weights == "lut":
        c2 = p * q * w * math.ceil(omega / 64)
    return int(300 + 1.1 * (p * (mult + add + acc + thr + comp)) + c2)


def blocks_as_printed(w, omega):
    if w == 1:
        return math.ceil(omega / 16384)
    if w == 2:
        return math.ceil(omega / 8192)
    if w <= 4:
        return math.ceil(omega / 4096) * math.ceil(w / 4)
    if w <= 9:
        return math.ceil(omega / 2048) * math.ceil(w / 9)
    if w <= 18 or omega > 512:
        return math.ceil(omega / 1024) * math.ceil(w / 18)
    return math.ceil(omega / 512) * math.ceil(w / 36)


@given(
    layers(2000), BITS, BITS, BITS, st.booleans(), st.sampled_from(["bram", "lut"]),
    st.sampled_from(["none", "lut"]), st.integers(1, 1024),
)  # fmt: skip
def test_the_formulas_as_printed(sizes, w, a, b, signed, weights, thresholds, vectors):
    mw, mh, pe, simd = sizes
    cost = estimate(
        *sizes, w, a, out_bits=b, signed_input=signed, weight_storage=weights,
        threshold_storage=thresholds, vectors=vectors,
    )  # fmt: skip
    rounds = mw & (mw + 1) == 0 and w == a == 1 and signed  # α + log2(1 + 2^−α) is whole
    if not rounds:
        assert cost.lut == as_printed(*sizes, w, a, b, signed, weights, thresholds)
    omega = mw * mh // (pe * simd)
    assert cost.bram18 == (blocks_as_printed(pe * simd * w, omega) if weights == "bram" else 0)
    assert cost.cycles == (mh // pe) * (mw // simd) * vectors
    assert cost.dsp == 0 and cost.ff >= 0


@pytest.mark.parametrize(
    ("sizes", "options", "lut"),
    [  # by hand: 300 + 1.1·P·(mult + add + acc)
        ((64, 64, 1, 1, 1, 1), {}, 313),  # 2 + 2 + 8: 300 + 13.2
        ((1024, 64, 8, 8, 8, 8), {}, 8272),  # 640 + 240 + 26: 300 + 7972.8
        ((1024, 64, 8, 8, 8, 8), {"signed_input": False}, 8281),  # acc one bit more
    ],
)
def test_by_hand(sizes, options, lut):
    assert estimate(*sizes, **options).lut == lut


def test_thresholds_dominate_at_eight_bits_and_the_default_leaves_them_out():
    """W8A8 at PE = SIMD = 8: each of thresholds and comparators takes 7 times all the rest."""
    layer = {"out_bits": 8, "signed_input": False}
    plain = estimate(1024, 64, 8, 8, 8, 8, **layer)
    sums = estimate(1024, 64, 8, 8, 8, 8, signed_input=False)
    assert plain.lut == sums.lut == 8281 and plain.bram18 == sums.bram18
    assert plain.ff > sums.ff  # the registers of the search, wherever thresholds are
    full = estimate(1024, 64, 8, 8, 8, 8, **layer, threshold_storage="lut")
    assert full.lut == int(300 + 1.1 * 8 * (640 + 240 + 27 + 2 * 255 * 27))
    assert full.bram18 == plain.bram18
    stored = estimate(1024, 64, 8, 8, 8, 8, **layer, threshold_storage="bram")
    assert stored.lut == int(300 + 1.1 * 8 * (640 + 240 + 27 + 255 * 27))
    # 8 words of 8·255·27 bits: blocks of 36 bits side by side.
    assert stored.bram18 - plain.bram18 == math.ceil(8 * 255 * 27 / 36)
    constants = estimate(1024, 64, 64, 8, 8, 8, **layer, threshold_storage="bram")
    assert constants.bram18 == estimate(1024, 64, 64, 8, 8, 8).bram18


@pytest.mark.parametrize("storage", ["none", "lut", "bram"])
def test_no_activation_has_no_thresholds(storage):
    sizes = 64, 10, 5, 8, 4, 4
    same(estimate(*sizes, threshold_storage=storage), estimate(*sizes))


def test_multipliers_in_dsps():
    lut, dsp = (estimate(64, 64, 4, 8, 4, 4, multipliers=kind) for kind in ("lut", "dsp"))
    assert (lut.dsp, dsp.dsp) == (0, 32)
    assert lut.lut - dsp.lut == pytest.approx(1.1 * 4 * 8 * 3 * 8, abs=1)
    assert estimate(64, 64, 1, 1, 16, 16, multipliers="dsp").dsp == 1


@given(st.integers(1, 4096), BITS, BITS, st.booleans())
def test_the_accumulator_holds_the_largest_sum(mw, w, a, signed):
    """Weights in ±2^(W−1) and inputs of A bits; the sum is signed."""
    largest = mw * 2 ** (w - 1) * (2 ** (a - 1) if signed else 2**a - 1)
    width = accumulator(mw, w, a, signed)
    assert largest <= 2 ** (width - 1) - 1 < 4 * max(largest, 1) + 2
    limited = estimate(mw, 1, 1, 1, w, a, signed_input=signed, accumulator_bits=8)
    assert limited.lut <= estimate(mw, 1, 1, 1, w, a, signed_input=signed).lut


# Arrays


@given(layers(), st.lists(BITS, min_size=1, max_size=4), st.lists(BITS, min_size=1, max_size=4))
def test_a_grid_in_one_call_is_every_single_call(sizes, ws, activations):
    w, a = np.array(ws)[:, None], np.array(activations)
    options = {"threshold_storage": "bram", "weight_storage": "lut"}
    grid = estimate(*sizes, w, a, out_bits=a, **options)
    for i, j in np.ndindex(len(ws), len(activations)):
        one = estimate(*sizes, ws[i], activations[j], out_bits=activations[j], **options)
        for name in (*RESOURCES, "cycles"):
            value = getattr(grid, name)
            assert value.shape == (len(ws), len(activations))
            np.testing.assert_equal(value[i, j], getattr(one, name))
            assert type(getattr(one, name)) is int


def test_all_foldings_of_all_bit_widths_at_once():
    bits, pe, simd = np.arange(1, 9), np.array(divisors(64)), np.array(divisors(1024))
    costs = estimate(
        1024, 64, pe[:, None, None, None], simd[:, None, None], bits[:, None], bits
    )  # fmt: skip
    assert costs.lut.shape == (7, 11, 8, 8)
    assert costs.lut[3, 3, 2, 4] == estimate(1024, 64, 8, 8, 3, 5).lut


def test_small_integer_types_do_not_overflow():
    small = np.array([8], np.int8)
    cost = estimate(1024, np.array([64]), small, small, small, small, out_bits=small)
    assert cost.lut.tolist() == [8272] and cost.cycles.tolist() == [1024]
    huge = {"out_bits": 16, "threshold_storage": "lut"}
    array = estimate(np.array([1024]), 1024, 1024, 1, 16, 16, **huge)
    assert array.lut.tolist() == [estimate(1024, 1024, 1024, 1, 16, 16, **huge).lut]
    assert array.lut[0] > 2**31


# Monotone, and where not


@given(layers(), BITS, BITS, st.sampled_from(["bram", "lut"]), st.sampled_from(["none", "lut"]))
def test_more_bits_never_cost_less(sizes, w, a, weights, thresholds):
    ways = {"weight_storage": weights, "threshold_storage": thresholds}
    base = estimate(*sizes, w, a, out_bits=a, **ways)
    for more in (
        estimate(*sizes, w + 1, a, out_bits=a, **ways),
        estimate(*sizes, w, a + 1, out_bits=a, **ways),
        estimate(*sizes, w, a, out_bits=a + 1, **ways),
    ):
        assert more.lut >= base.lut and more.bram18 >= base.bram18
        assert more.cycles == base.cycles


@given(layers(), BITS, BITS, st.sampled_from(["bram", "lut"]), st.data())
def test_more_parallelism_takes_fewer_cycles_and_more_luts(sizes, w, a, weights, data):
    """From a folding to one whose pe and simd are multiples of it."""
    mw, mh, pe, simd = sizes
    pe2 = pe * data.draw(st.sampled_from(divisors(mh // pe)))
    simd2 = simd * data.draw(st.sampled_from(divisors(mw // simd)))
    ways = {"weight_storage": weights, "threshold_storage": "lut", "out_bits": a}
    base, more = estimate(*sizes, w, a, **ways), estimate(mw, mh, pe2, simd2, w, a, **ways)
    assert more.lut >= base.lut
    assert more.cycles * pe2 * simd2 == base.cycles * pe * simd


def test_block_ram_is_not_monotone_in_parallelism():
    """Whole blocks: three times as wide and a third as deep can be fewer, or more."""
    blocks = [estimate(99, 64, 1, simd, 2, 4).bram18 for simd in (1, 3, 9, 99)]
    assert blocks == [1, 2, 1, 6]
    assert [bram18(36, depth) for depth in (512, 513)] == [1, 2]


@given(st.integers(1, 3000), st.integers(1, 40000))
def test_block_ram_holds_the_memory(width, depth):
    blocks = bram18(width, depth)
    assert blocks * 18 * 1024 >= width * depth
    assert blocks == blocks_as_printed(width, depth)
    assert bram18(width + 1, depth) >= blocks and bram18(width, depth + 1) >= blocks


# Convolutions


def test_a_sliding_window_by_hand():
    """16 channels of 32 × 32 pixels padded by 1, kernel 3, 2 bits, 4 channels a cycle."""
    cost = sliding_window(16, 3, 32, 4, 2, padding=1)
    line = 34 * 16 // 4  # 136 words of 8 bits: one block each, of 3 + 1 lines
    assert (cost.lut, cost.bram18, cost.dsp) == (300, 4, 0)
    assert cost.cycles == 3 * line + 32 * (32 * 9 * 4)
    lutram = sliding_window(16, 3, 32, 4, 2, padding=1, storage="lut")
    assert (lutram.lut, lutram.bram18) == (300 + 4 * 4 * 2 * 3, 0)
    strided = sliding_window(16, 3, 32, 4, 2, stride=2)
    assert strided.cycles == 3 * 128 + 15 * (15 * 9 * 4)
    reading = sliding_window(16, 1, 32, 4, 2, stride=2)
    assert reading.cycles == 128 + 16 * (2 * 128)  # more to read than to write
    deep = sliding_window(1024, 3, 32, 1, 1)
    assert deep.bram18 == 4 * 2  # 32,768 words, deeper than a block


def test_a_convolution_is_its_window_and_its_mvtu():
    sizes, geometry = (16, 32, 3, 32), {"stride": 2, "padding": 1}
    both = convolution(*sizes, 4, 24, 2, 3, **geometry, weight_storage="lut", out_bits=3)
    mvtu = estimate(144, 32, 4, 24, 2, 3, vectors=256, weight_storage="lut", out_bits=3)
    window = sliding_window(16, 3, 32, 8, 3, **geometry)  # gcd(24, 16) channels a cycle
    for name in ("lut", "bram18", "dsp"):
        assert getattr(both, name) == getattr(mvtu, name) + getattr(window, name)
    assert both.cycles == max(mvtu.cycles, window.cycles) == mvtu.cycles
    slow = convolution(*sizes, 32, 9, 2, 3, **geometry)  # one channel a cycle
    assert slow.cycles == sliding_window(16, 3, 32, 1, 3, **geometry).cycles


def test_a_kernel_of_one_needs_no_window():
    same(convolution(8, 4, 1, 5, 2, 4, 3, 3), estimate(8, 4, 2, 4, 3, 3, vectors=25))


def test_convolutions_in_arrays():
    kernels, simd = np.array([1, 3, 5]), np.array([[1], [4]])
    grid = convolution(4, 6, kernels, 12, 2, simd, 2, 2)
    for i, j in np.ndindex(2, 3):
        one = convolution(4, 6, int(kernels[j]), 12, 2, int(simd[i, 0]), 2, 2)
        for name in ("lut", "bram18", "dsp", "cycles"):
            assert getattr(grid, name)[i, j] == getattr(one, name)


# Flip-flops


def test_flip_flops_are_not_known_without_a_model(monkeypatch, tmp_path):
    monkeypatch.setattr(flip_flops, "MODEL_FILE", tmp_path / "none.yml")
    assert math.isnan(estimate(64, 64, 2, 2, 2, 2).ff)
    assert np.isnan(estimate(64, 64, np.array([1, 2]), 2, 2, 2).ff).tolist() == [True, True]


def test_flip_flops_of_a_fitted_model(monkeypatch, tmp_path):
    file = tmp_path / "ff.yml"
    file.write_text("source: made up\ncoefficients: {constant: 10, accumulators: 2, outputs: 0.5}")
    monkeypatch.setattr(flip_flops, "MODEL_FILE", file)
    acc = accumulator(64, 2, 2)
    assert estimate(64, 64, 4, 2, 2, 2, out_bits=2).ff == 10 + 2 * 4 * acc + 0.5 * 4 * 2
    assert estimate(64, 64, np.array([1, 4]), 2, 2, 2).ff.tolist() == [10 + 2 * acc, 10 + 8 * acc]
    total = estimate(64, 64, 4, 2, 2, 2) + estimate(64, 64, 4, 2, 2, 2)
    assert total.ff == 2 * (10 + 8 * acc)


@pytest.mark.parametrize(
    "text", ["[]", "coefficients: {}", "coefficients: {registers: 1}", "coefficients: {inputs: x}"]
)
def test_a_model_that_does_not_say_what_it_must(monkeypatch, tmp_path, text):
    file = tmp_path / "ff.yml"
    file.write_text(text)
    monkeypatch.setattr(flip_flops, "MODEL_FILE", file)
    with pytest.raises(HardwareError, match=r"ff\.yml must .*\.$"):
        estimate(64, 64, 2, 2, 2, 2)


# What is refused

LAYER = {"mw": 64, "mh": 10, "pe": 2, "simd": 8, "weight_bits": 2, "act_bits": 2}
BITS_SAID = "must be a whole number from 1 to 16, not"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pe": 3}, "pe must divide mh, and 3 does not divide 10."),
        ({"simd": 48}, "simd must divide mw, and 48 does not divide 64."),
        ({"pe": np.array([1, 2, 4])}, "pe must divide mh, and 4 does not divide 10."),
        ({"pe": 0}, "pe must be a whole number of at least 1, not 0."),
        ({"simd": -8}, "simd must be a whole number of at least 1, not -8."),
        ({"mw": 64.0}, "mw must be a whole number of at least 1, not 64.0."),
        ({"mh": True}, "mh must be a whole number of at least 1, not True."),
        ({"mh": "10"}, "mh must be a whole number of at least 1, not '10'."),
        ({"weight_bits": 0}, f"weight_bits {BITS_SAID} 0."),
        ({"weight_bits": 17}, f"weight_bits {BITS_SAID} 17."),
        ({"act_bits": 32}, f"act_bits {BITS_SAID} 32."),
        ({"act_bits": 2.5}, f"act_bits {BITS_SAID} 2.5."),
        ({"out_bits": 0}, f"out_bits {BITS_SAID} 0."),
        ({"vectors": 0}, "vectors must be a whole number of at least 1, not 0."),
        ({"weight_storage": "uram"}, "weight_storage must be one of bram, lut, not 'uram'."),
        (
            {"threshold_storage": None},
            "threshold_storage must be one of none, lut, bram, not None.",
        ),
        ({"multipliers": "fabric"}, "multipliers must be one of lut, dsp, not 'fabric'."),
    ],
)
def test_a_layer_that_cannot_be(change, said):
    with pytest.raises(HardwareError) as caught:
        estimate(**LAYER | change)
    assert str(caught.value) == said


def test_a_window_that_cannot_be():
    with pytest.raises(HardwareError, match=r"^kernel must be at most 6, .* image, not 7\.$"):
        convolution(3, 4, 7, 4, 1, 1, 2, 2, padding=1)
    with pytest.raises(HardwareError, match=r"^simd must divide channels, and 2 does not .* 3\.$"):
        sliding_window(3, 3, 8, 2, 2)
    with pytest.raises(HardwareError, match=r"^padding must be a whole .* at least 0, not -1\.$"):
        sliding_window(3, 3, 8, 1, 2, padding=-1)


def test_costs_add_up_to_a_stream():
    one, other = Cost(1, 2, 3, 4, 50), Cost(10, 20, 30, 40, 5)
    assert one + other == Cost(11, 22, 33, 44, 50)
    with pytest.raises(TypeError):
        one + 1


def test_no_torch():
    """Neither models nor what reads QONNX: only a model that is given needs torch."""
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(('torch', 'brevitas', 'onnx', 'qonnx', 'scipy')))\n"
        "from qbench import hardware\nfrom qbench.hardware import sparse_accelerator\n"
        "folding = hardware.fastest(hardware.mlp(weight_bits=2, act_bits=2), 'Z7020')\n"
        "print(hardware.fit(folding.cost, 'Z7020').fits)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"]
    assert all(hasattr(hardware, name) for name in hardware.__all__)
