"""The best foldings: as brute force finds them, within the device, clear about what cannot be."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from qbench.hardware import (
    Device,
    Fold,
    Folding,
    HardwareError,
    Layer,
    Window,
    cheapest,
    conv_layer,
    device,
    fastest,
    fit,
    flip_flops,
    mlp,
    performance,
)
from qbench.hardware.folding import divisors
from qbench.hardware.knapsack import Knapsack, non_dominated
from qbench.hardware.search import OBJECTIVES

slow = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
RESOURCES = ("lut", "ff", "bram18", "dsp")


def small(lut, bram18=10**6, dsp=10**6, ff=10**6) -> Device:
    counts = {"lut": lut, "ff": ff, "bram18": bram18, "dsp": dsp}
    return Device(name="small", part="none", **counts, sources={"resources": "made up"})


@st.composite
def networks(draw):
    """One to three small layers, one of them perhaps a convolution."""
    bits = st.integers(1, 4)
    layers = []
    for index in range(draw(st.integers(1, 3))):
        out = draw(st.none() | bits)
        if draw(st.integers(0, 4)) == 0:
            window = Window(draw(st.integers(1, 4)), 5, 3, draw(st.integers(1, 2)))
            filters = draw(st.integers(1, 4))
            layers.append(conv_layer(f"c{index}", window, filters, draw(bits), 2, out_bits=out))
        else:
            mw, mh = draw(st.sampled_from([1, 6, 8, 900])), draw(st.sampled_from([1, 4, 60]))
            layers.append(Layer(f"l{index}", mw, mh, draw(bits), draw(bits), out_bits=out))
    return tuple(layers)


def every_folding(layers, storages=("bram",), **options):
    """All foldings of a network, an iterator."""
    per_layer = [
        [
            Fold(pe, simd, storage)
            for pe in divisors(layer.mh)
            for simd in divisors(layer.mw)
            for storage in storages
        ]
        for layer in layers
    ]
    return (Folding(layers, folds, **options) for folds in itertools.product(*per_layer))


def not_too_many(layers, *args, **options):
    every = list(itertools.islice(every_folding(layers, *args, **options), 2001))
    assume(len(every) <= 2000)
    return every


def largest_share(folding, on):
    return max(share for share in fit(folding.cost, on).shares.values() if share >= 0)


ways = st.fixed_dictionaries(
    {
        "threshold_storage": st.sampled_from(["none", "lut", "bram"]),
        "multipliers": st.sampled_from(["lut", "dsp"]),
    }
)


@st.composite
def limits(draw, foldings):
    """A device that about the middle of the foldings fit."""
    counts = {}
    for name in ("lut", "bram18", "dsp"):
        values = [getattr(folding.cost, name) for folding in foldings]
        counts[name] = max(1, draw(st.sampled_from(sorted(set(values)))))
    return small(**counts)


# Brute force


@slow
@given(networks(), ways, st.booleans(), st.data())
def test_fastest_is_what_brute_force_finds(layers, options, either, data):
    storages = ("bram", "lut") if either else ("bram",)
    every = not_too_many(layers, storages, **options)
    on = data.draw(limits(every))
    fitting = [one for one in every if fit(one.cost, on).fits]
    ask = options | {"weight_storage": "either" if either else "bram"}
    if not fitting:
        with pytest.raises(HardwareError, match=r"^in no folding the network fits the small"):
            fastest(layers, on, **ask)
        return
    best = fastest(layers, on, **ask)
    assert fit(best.cost, on).fits and best.layers == layers
    cycles = min(one.cost.cycles for one in fitting)
    assert best.cost.cycles == cycles
    equal = [largest_share(one, on) for one in fitting if one.cost.cycles == cycles]
    assert largest_share(best, on) == min(equal)


@slow
@given(networks(), ways, st.sampled_from(OBJECTIVES), st.booleans(), st.data())
def test_cheapest_is_what_brute_force_finds(layers, options, objective, limited, data):
    storages = ("bram", "lut")
    every = not_too_many(layers, storages, **options)
    on = data.draw(limits(every)) if limited or objective == "share" else None
    overhead = data.draw(st.integers(0, 12))
    rates = sorted({performance(one, overhead_cycles=overhead).frame_rate for one in every})
    rate = data.draw(st.sampled_from(rates)) * data.draw(st.sampled_from([1, 0.9]))
    ask = options | {"weight_storage": "either", "objective": objective}
    ask |= {"overhead_cycles": overhead}

    def good(one):
        quick = performance(one, overhead_cycles=overhead).frame_rate >= rate
        return quick and (on is None or fit(one.cost, on).fits)

    enough = [one for one in every if good(one)]
    if not enough:
        with pytest.raises(HardwareError, match=r"^in no folding with .* fits the small"):
            cheapest(layers, rate, on, **ask)
        return
    best = cheapest(layers, rate, on, **ask)
    assert good(best)
    if objective == "share":
        assert largest_share(best, on) == min(largest_share(one, on) for one in enough)
        return
    costs = [(getattr(one.cost, objective), one.cost.lut) for one in enough]
    assert (getattr(best.cost, objective), best.cost.lut) == min(costs)


@slow
@given(st.integers(1, 3), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_the_knapsack_is_what_brute_force_finds(items, resources, seed):
    random = np.random.default_rng(seed)
    use = [random.integers(0, 40, (random.integers(1, 7), resources)) for _ in range(items)]
    limits = random.integers(0, 30 * items, resources)
    every = list(itertools.product(*(range(len(one)) for one in use)))
    sums = np.array([sum(one[p] for one, p in zip(use, picks, strict=True)) for picks in every])
    fitting = sums[(sums <= limits).all(axis=1)]
    knapsack = Knapsack(use)

    def total(picks):
        return sum(one[pick] for one, pick in zip(use, picks, strict=True))

    found = knapsack.within(limits)
    assert (found is not None) == bool(len(fitting))
    if found is not None:
        assert (total(found) <= limits).all()
        for resource in range(resources):
            best = total(knapsack.least(resource, limits))
            assert (best <= limits).all() and best[resource] == fitting[:, resource].min()
    there = np.maximum(limits, 1)
    least = (total(knapsack.least_share(there)) / there).max()
    assert least == (sums / there).max(axis=1).min()


@given(st.integers(1, 40), st.integers(1, 4), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_what_no_row_undercuts(count, resources, spread, seed):
    rows = np.random.default_rng(seed).integers(0, spread, (count, resources))
    kept = rows[non_dominated(rows)]
    assert len(np.unique(kept, axis=0)) == len(kept)
    for row in rows:
        better = (kept <= row).all(axis=1)
        assert better.any(), "each row is kept or undercut"
        if (kept == row).all(axis=1).any():
            assert better.sum() == 1, "none that is kept undercuts another"


# Larger networks, and flip-flops


def cnn(bits=2):
    """Nine convolutions and a classifier on 32 × 32 pixels."""
    layers, channels, size = [], 3, 32
    for index, filters in enumerate([64, 64, 64, 128, 128, 128, 256, 256, 256]):
        window = Window(channels, size, 3, 2 if index in (2, 5, 7) else 1, 1)
        first = {"signed_input": bool(index), "out_bits": bits}
        layers.append(
            conv_layer(f"conv{index}", window, filters, bits, bits if index else 8, **first)
        )
        channels, size = filters, window.out_size
    return (*layers, Layer("dense", channels * size**2, 10, bits, bits))


@pytest.mark.parametrize(
    ("layers", "on"),
    [
        (mlp(weight_bits=2, act_bits=2), "Z7020"),
        (mlp(784, (256, 256, 256), weight_bits=4, act_bits=4), "ZU3EG"),
        (mlp(1024, (1024,) * 3, weight_bits=1, act_bits=1), "ZU9EG"),
        (cnn(), "Z7020"),
        (cnn(4), "ZU9EG"),
    ],
    ids=["TFC", "SFC", "LFC", "CNN", "CNN of 4 bits"],
)
@pytest.mark.parametrize("multipliers", ["lut", "dsp"])
def test_networks_of_the_books_size(layers, on, multipliers):
    ask = {"weight_storage": "either", "multipliers": multipliers}
    best = fastest(layers, on, **ask)
    assert fit(best.cost, on).fits
    less = fastest(layers, on, share=0.7, **ask)
    assert less.cost.cycles >= best.cost.cycles and largest_share(less, on) <= 0.7
    # The cheapest with the rate of the fastest is as fast, and takes no more than that.
    rate = performance(best).frame_rate
    for objective in OBJECTIVES:
        found = cheapest(layers, rate, on, objective=objective, **ask)
        assert fit(found.cost, on).fits and found.cost.cycles == best.cost.cycles
        if objective == "share":
            assert largest_share(found, on) == largest_share(best, on)
        else:
            assert getattr(found.cost, objective) <= getattr(best.cost, objective)


def test_slower_is_never_dearer_and_a_larger_device_never_slower():
    layers = mlp(weight_bits=3, act_bits=3)
    costs = [cheapest(layers, rate).cost.lut for rate in (1e3, 1e4, 1e5, 1e6, 1e7)]
    assert costs == sorted(costs)
    names = ("Z7020", "ZU3EG", "ZU9EG", "KU115")
    cycles = [fastest(layers, name).cost.cycles for name in names]
    assert cycles == sorted(cycles, reverse=True) and cycles[0] > cycles[-1]


def test_a_limit_on_the_width():
    layers = mlp(weight_bits=2, act_bits=2)
    assert max(fold.simd for fold in fastest(layers, "Z7020").folds) > 64
    limited = fastest(layers, "Z7020", most_simd=16)
    assert max(fold.simd for fold in limited.folds) <= 16


def test_flip_flops_count_where_they_are_known(monkeypatch, tmp_path):
    layers = mlp(64, (32,), 8, weight_bits=2, act_bits=2, input_bits=2)
    monkeypatch.setattr(flip_flops, "MODEL_FILE", tmp_path / "none.yml")
    free = fastest(layers, small(20_000, ff=600))
    assert math.isnan(free.cost.ff)
    file = tmp_path / "ff.yml"
    file.write_text("source: made up\ncoefficients: {constant: 20, accumulators: 3, inputs: 2}")
    monkeypatch.setattr(flip_flops, "MODEL_FILE", file)
    tight = fastest(layers, small(20_000, ff=600))
    costs = [one.cost for one in every_folding(layers)]
    fitting = [cost for cost in costs if fit(cost, small(20_000, ff=600)).fits]
    assert tight.cost.ff <= 600 and tight.cost.cycles == min(cost.cycles for cost in fitting)
    assert tight.cost.cycles > free.cost.cycles


# What is refused

TFC = mlp(weight_bits=3, act_bits=3)


def refused(ask) -> str:
    with pytest.raises(HardwareError) as caught:
        ask()
    said = str(caught.value)
    assert "\n" not in said and said.endswith(".")
    return said


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: fastest([], "Z7020"), "layers must be one or more hardware.Layer, as mlp and"),
        (lambda: fastest(TFC, "Z80"), "unknown device 'Z80'"),
        (lambda: fastest(TFC, "Z7020", share=0), "share must be a positive finite number, not 0."),
        (lambda: fastest(TFC, "Z7020", share=1.5), "share must be at most 1, all of the device, "),
        (
            lambda: fastest(TFC, "Z7020", weight_storage="any"),
            "weight_storage must be one of bram, lut, either, not 'any'.",
        ),
        (
            lambda: fastest(TFC, "Z7020", most_simd=0),
            "most_simd must be a whole number of at least 1, not 0.",
        ),
        (lambda: cheapest(TFC, -5), "frame_rate must be a positive finite number, not -5."),
        (lambda: cheapest(TFC, 0), "frame_rate must be a positive finite number, not 0."),
        (lambda: cheapest(TFC, math.inf), "frame_rate must be a positive finite number, not inf."),
        (lambda: cheapest(TFC, "1e3"), "frame_rate must be a positive finite number, not '1e3'."),
        (lambda: cheapest(TFC, 9, clock=-1), "clock must be a positive finite number, not -1."),
        (
            lambda: cheapest(TFC, 9, objective="power"),
            "objective must be one of lut, bram18, dsp, share, not 'power'.",
        ),
        (lambda: cheapest(TFC, 9, objective="share"), 'objective "share" needs a device, '),
        (
            lambda: cheapest(TFC, 1e8 + 1),
            "frame_rate must be at most 100,000,000, what this network reaches at 100 MHz when "
            "unfolded, not 100,000,001.",
        ),
        (
            lambda: cheapest(TFC, 1e7, overhead_cycles=12),
            "frame_rate must be at most 7,692,308, what this network reaches at 100 MHz",
        ),
    ],
)
def test_what_cannot_be(ask, said):
    assert refused(ask).startswith(said)


def test_a_network_that_fits_nowhere_names_what_runs_out_first():
    huge = mlp(1024, (1024,) * 4, weight_bits=8, act_bits=8)
    said = refused(lambda: fastest(huge, "Z7020"))
    assert said.startswith(
        "in no folding the network fits the Z7020: it runs out of BRAM18 first, of which there are "
        "280 and the folding nearest to fitting needs "
    )
    assert int(said.rstrip(".").split()[-1].replace(",", "")) >= 8 * 4 * 1024**2 / (18 * 1024)
    said = refused(lambda: fastest(huge, "Z7020", weight_storage="lut"))
    assert "it runs out of LUTs first, of which there are 53,200 and" in said
    said = refused(lambda: fastest(TFC, "Z7020", share=0.04))
    assert "first, of which" in said and "may be used" in said


def test_a_frame_rate_that_does_not_fit():
    """TFC at ten million frames a second takes 10 cycles: thousands of multipliers."""
    said = refused(lambda: cheapest(TFC, 1e7, "Z7020"))
    assert said.startswith("in no folding with 10,000,000 frames/s the network fits the Z7020: it")
    assert "LUTs" in said
    assert cheapest(TFC, 1e7).cost.lut > device("Z7020").lut
