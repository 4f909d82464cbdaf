"""Operations, reuse, designs (eqs. 4.5 to 4.7), and what each strategy takes from each layer."""

import math
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qbench.hardware import cheapest, device
from qbench.pruning import PruningError, resources, strategies
from qbench.pruning.shapes import Conv, Network, published, without_connected

ALEXNET, YOLO = without_connected(published("AlexNet")), published("TinyYolo")
TOY = Network(
    "toy",
    3,
    (
        Conv("a", 8, 8, kernel=3, size=10, padding=1),
        Conv("b", 12, 1, kernel=3, size=10, padding=1, groups=2),
        Conv("c", 16, 1, kernel=3, size=5, padding=1),
        Conv("d", 10, 8, spread=25),
    ),
    act_bits=2,
)


def test_equations_by_hand():
    conv2 = ALEXNET.units()["Conv2"]
    assert len(conv2) == 2  # two groups, each of half the filters on half the maps
    assert resources.operations(conv2[0]) == 5 * 5 * 48 * 128 * 54 * 54
    assert resources.reuse(100, 30) == 4 and resources.elements(100, 4) == 25
    # Reuse 2: half of the 96 maps of 54 x 54 pixels waits; at 1 none does.
    assert resources.feature_map_blocks(96, 54, 2, 8192) == math.ceil(96 * 54 * 54 / 2 / 8192)
    assert resources.feature_map_blocks(96, 54, 1, 8192) == 0
    assert [resources.words(bits) for bits in (1, 2, 3, 8, 16)] == [16384, 8192, 4096, 2048, 1024]


@given(st.integers(1, 10**9), st.integers(1, 10**6))
def test_the_fewest_elements_reach_a_reuse_and_one_less_does_not(operations, reuse):
    pe = resources.elements(operations, reuse)
    assert resources.reuse(operations, pe) <= reuse
    assert pe == 1 or resources.reuse(operations, pe - 1) > reuse


@given(st.integers(1, 500), st.integers(1, 100), st.integers(1, 10**6), st.integers(1, 16))
def test_buffers_grow_with_reuse_up_to_whole_maps(maps, size, reuse, bits):
    words = resources.words(bits)
    blocks = [resources.feature_map_blocks(maps, size, r, words) for r in (1, reuse, reuse + 1)]
    assert blocks == sorted(blocks) and blocks[0] == 0
    assert blocks[-1] <= math.ceil(maps * size**2 / words)


def test_pruning_a_layer_takes_inputs_of_the_next():
    units = TOY.units({"a": 6, "c": 4})
    assert [units[n][0].mw for n in "abcd"] == [27, 27, 108, 100]
    assert [sum(u.mh for u in units[n]) for n in "abcd"] == [6, 12, 4, 10]


def test_memory_is_that_of_maps_and_weights():
    found = resources.memory(TOY, reuse=1)
    assert found == {"a": 1, "b": 1, "c": 1, "d": math.ceil(400 * 10 * 8 / 18432)}
    more = resources.memory(TOY, reuse=10**6)
    assert more["d"] == found["d"] and more["a"] == 2  # 800 words of 8,192


@pytest.mark.parametrize("mmv", [False, True])
def test_a_design_keeps_to_its_interval_and_divides_the_filters(mmv):
    for interval in (3000, 5000, 20_000):
        made = resources.design(TOY, interval=interval, mmv=mmv)
        assert made.cost.cycles <= interval
        assert made.cost.lut == sum(cost.lut for cost in made.costs.values())
        for name, group in made.units.items():
            for unit in group:
                assert unit.layer.mh % unit.pe == 0 and unit.layer.mw % unit.simd == 0
                assert mmv or unit.mmv == 1
            assert TOY.counted()[name] % made.pe[name] == 0
    with pytest.raises(PruningError, match="interval must be"):
        resources.design(TOY, interval=0 if mmv else 1, mmv=mmv)


@pytest.mark.parametrize("interval", [2500, 4000, 30_000])
def test_without_several_pixels_it_is_the_folding_search(interval):
    made = resources.design(TOY, interval=interval, mmv=False)
    for group in made.units.values():
        for unit in group:
            how = "dsp" if unit.layer.weight_bits == 8 else "lut"
            rate = 1e6 / interval
            found = cheapest((unit.layer,), rate, clock=1e6, multipliers=how).cost
            assert found.lut == unit.cost.lut and found.cycles <= interval >= unit.cost.cycles


def test_pixels_at_once_multiply_multipliers_and_not_weights():
    slow, fast = (resources.design(ALEXNET, interval=i).units["Conv1"][0] for i in (46656, 500))
    for unit in (slow, fast):
        assert unit.cost.dsp == unit.pe * unit.simd * unit.mmv >= 120_932_352 / unit.cost.cycles
    assert fast.mmv > 1
    alone = resources.design(TOY, interval=20).units["a"][0]
    one_pixel = alone.layer.cost(alone.pe, alone.simd, multipliers="dsp")
    assert alone.mmv == 5 and alone.cost.dsp == 5 * one_pixel.dsp
    assert alone.cost.bram18 == one_pixel.bram18 and alone.cost.lut < 5 * one_pixel.lut


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_no_budget_is_ever_exceeded_and_pe_divides_what_is_left(data):
    target = device("Z7020")
    share = data.draw(st.floats(0.02, 1.0))
    pruned = {"a": 2 * data.draw(st.integers(1, 4)), "b": 2 * data.draw(st.integers(1, 6))}
    pruned["c"] = data.draw(st.integers(1, 16))
    mmv, rate = data.draw(st.booleans()), data.draw(st.floats(0.1, 0.9))
    try:
        found = strategies.customise(TOY, pruned, target, share=share, mmv=mmv, rate=rate)
    except PruningError as error:
        assert "does not fit" in str(error)
        with pytest.raises(PruningError, match="does not fit"):
            resources.quickest(TOY, pruned, on=target, share=share, mmv=mmv)
        return
    cost = found.design.cost
    for name in ("lut", "bram18", "dsp"):
        assert getattr(cost, name) <= share * getattr(target, name)
    assert found.pruned == pruned
    assert [*found.counts] == ["a", "b", "c"]
    for name, count in found.counts.items():
        assert count % found.design.pe[name] == 0
        assert pruned[name] <= count <= pruned[name] + rate * TOY.filters[name] / 2
        assert sum(unit.layer.mh for unit in found.design.units[name]) == count


def test_fine_tuning_adds_filters_where_they_are_cheap():
    found = strategies.customise(ALEXNET, {"Conv1": 58, "Conv2": 154, "Conv3": 230}, "KU115")
    gained = {n: found.counts[n] - found.pruned.get(n, ALEXNET.filters[n]) for n in found.counts}
    assert any(gained.values()) and all(value >= 0 for value in gained.values())
    assert not resources.fits(
        resources.design(ALEXNET, found.counts, interval=found.design.interval // 2), "KU115"
    )


@given(st.integers(1, 5000), st.integers(1, 5000), st.booleans())
def test_aligned_filters_are_a_multiple_of_pe(filters, pe, add):
    if pe > filters:
        with pytest.raises(PruningError, match=rf"at most the {filters} filters left.*not {pe}\."):
            strategies.aligned(filters, pe, add=add)
        return
    found = strategies.aligned(filters, pe, add=add)
    assert found % pe == 0 and found >= pe
    assert abs(found - filters) <= (pe / 2 if add else pe - 1) and (add or found <= filters)


def test_the_first_layer_of_the_thesis():
    """96 filters less 40 %, with 60 processing elements, is 60 (section 4.7.1.1)."""
    assert strategies.aligned(round(96 * 0.6), 30) == 60


@pytest.mark.parametrize("strategy", strategies.STRATEGIES)
@pytest.mark.parametrize("network", [ALEXNET, YOLO, TOY], ids=lambda n: n.name)
def test_plans_take_as_much_in_all_and_never_all_of_a_layer(strategy, network):
    losses = {name: place for place, name in enumerate(network.prunable)}
    plan = strategies.plan(
        strategy, network, iterations=4, losses=losses, on="KU115", interval=100_000
    )
    total = sum(network.filters[name] for name in network.prunable)
    before = network.filters
    for step, counts in enumerate(plan, 1):
        assert [*counts] == [*network.filters]
        assert all(1 <= counts[name] <= before[name] for name in counts)
        lost = sum(network.filters[name] - counts[name] for name in counts)
        largest = max(network.filters.values())
        groups = 2 * len(counts)  # layers are rounded to their groups
        assert step * 0.1 * total - groups <= lost <= step * 0.1 * total + 0.1 * largest + groups
        network.units(counts)
        before = counts
    assert plan[-1].get("Conv9", 125) == 125


def test_even_sensitivity_and_most():
    assert strategies.plan("even", ALEXNET, iterations=4, layers=["Conv1"])[-1]["Conv1"] == 58
    plan = strategies.plan(
        "sensitivity", TOY, iterations=3, losses={"a": 5, "b": 0.1, "c": 0.2}, most=0.5
    )
    assert plan[-1]["a"] == 8 and plan[-1]["b"] < 12 and plan[-1]["c"] < 16
    assert plan[-1]["b"] >= 6 and plan[-1]["c"] >= 8
    tired = strategies.plan("sensitivity", TOY, iterations=9, losses=dict.fromkeys("abc", 1),
                            most=0.2)  # fmt: skip
    assert tired[-1] == tired[3] and tired[-1]["c"] == 13


def test_resources_choose_the_layers_that_the_thesis_chose():
    """AlexNet's first three, TinyYolo's last two of one bit (section 4.7.1.1)."""
    for network, chosen in ((ALEXNET, {"Conv1", "Conv2", "Conv3"}), (YOLO, {"Conv7", "Conv8"})):
        plan = strategies.plan("resource-aware", network, iterations=2, most=0.5, on="KU115")
        pruned = {name for name in plan[-1] if plan[-1][name] < network.filters[name]}
        assert pruned == chosen


REFUSED = {
    "strategy": (dict(strategy="odd"), r"one of even, sensitivity, resource-aware, not 'odd'"),
    "rate-0": (dict(rate=0), r"rate must be a number above 0 and below 1, not 0"),
    "rate-1": (dict(rate=1.0), r"rate must be a number above 0 and below 1, not 1.0"),
    "rate-nan": (dict(rate=math.nan), r"rate must be a number above 0 and below 1"),
    "most": (dict(most=1), r"most must be a number above 0 and below 1, not 1"),
    "too-many": (dict(iterations=10), r"10 prunings of 10% would take more than 90%"),
    "iterations": (dict(iterations=0), r"iterations must be a whole number of at least 1"),
    "layers": (dict(layers=["d"]), r"layers to prune must be among a, b, c, not 'd'"),
    "no-layer": (dict(layers=[]), r"no layer that may be pruned"),
    "losses": (dict(strategy="sensitivity", losses={"a": 1}), r"needs losses: for each of a, b, c"),
    "device": (dict(strategy="resource-aware"), r"needs a device"),
}


@pytest.mark.parametrize(("given", "words"), REFUSED.values(), ids=REFUSED)
def test_plans_that_cannot_be(given, words):
    settings = {"strategy": "even", "iterations": 2} | given
    with pytest.raises(PruningError, match=words) as refused:
        strategies.plan(settings.pop("strategy"), TOY, **settings)
    assert "\n" not in str(refused.value) and str(refused.value).endswith(".")


def test_networks_that_cannot_be():
    for counts, words in (
        ({"z": 1}, r"toy has no layer 'z'.*it has a, b, c, d"),
        ({"c": 0}, r"c must keep at least 1 filter"),
        ({"a": 7}, r"filters of a must be a multiple of 2, the next layer's groups, not 7"),
        ({"b": 7}, r"filters of b must be a multiple of 2, its layer's groups, not 7"),
    ):
        with pytest.raises(PruningError, match=words):
            TOY.units(counts)
    with pytest.raises(PruningError, match="must be AlexNet or TinyYolo, not 'VGG'"):
        published("VGG")
    with pytest.raises(PruningError, match=r"does not fit 1% of the Z7020.*of 280"):
        resources.quickest(ALEXNET, on="Z7020", share=0.01)
    with pytest.raises(PruningError, match="share must be above 0"):
        resources.quickest(ALEXNET, on="Z7020", share=0)
    for name in ("operations", "reuse"):
        with pytest.raises(PruningError, match=name):
            resources.elements(**{"operations": 1, "reuse": 1, name: 0})


def test_shapes_and_strategies_need_no_torch():
    code = "import sys; from qbench.pruning import strategies; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
