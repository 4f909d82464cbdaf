"""Chapter 15: every reader on a small store, costs, fronts, and what the page says."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbench import hardware, parameters, paths, plots, store, sweep
from qbench.addnet import runs as addnet_runs
from qbench.combining import runs as combining_runs
from qbench.hardware import HardwareError
from qbench.hardware.rccm_sets import enumerate_sets
from qbench.hardware.synthesis import multiplier_grid as grid
from qbench.parameters import ParameterError
from qbench.pruning import runs as pruning_runs
from qbench.qkd import runs as qkd_runs
from qbench.sparsity import runs as sparsity_runs
from qbench.studies import (
    addnet,
    comparison,
    devices,
    devices_networks,
    qkd_densenets,
    qkd_perceptrons,
    sparse_ternary,
    syq,
)
from qbench.studies import comparison_claims as judged
from qbench.studies import comparison_costs as costs
from qbench.studies import comparison_page as page
from qbench.studies.comparison_costs import Architecture, Design, Terms
from qbench.studies.comparison_networks import METHODS, Asked, everything
from qbench.studies.folding import Setup
from qbench.syq import runs as syq_runs

NAME = "15_comparison"
TERMS = Terms(Setup(), luts=(("2-Add", 2.0, 12.0), ("4-Add", 6.0, 40.0)))
PERCEPTRON = Architecture("sweep", "tfc", "mnist", 64)


def asked(**values):
    return parameters.check(NAME, **values)


def put(function, spec, error=10.0, **columns):
    """A result of a training that never ran."""
    table = pd.DataFrame([{"epoch": 1, "test_error": error, **columns}])
    store.get_or_run(store.spec(function, **spec), lambda: table)


def fill():
    """One training or more of every chapter from 8 on, and of the sweep, on the 5,000 digits."""
    for seed, error in ((0, 6.0), (1, 8.0)):
        bits = {"weight_bits": 2, "act_bits": 2, "seed": seed}
        put(sweep.quant_mlp, {"dataset": "mnist5k", "epochs": 2, **bits}, error)
    put(sweep.quant_mlp, {"dataset": "mnist5k", "epochs": 2, "weight_bits": 32, "act_bits": 32})
    put(
        sweep.quant_mlp,
        {"dataset": "mnist5k", "epochs": 2, "weight_bits": [1, 2, 2, 4], "act_bits": 3},
    )
    for study, name in (
        (qkd_perceptrons, "08_qkd_perceptrons"),
        (qkd_densenets, "09_qkd_densenets"),
    ):
        for cell in study.cells(parameters.check(name, dataset="mnist5k", bits="2")):
            put(qkd_runs.study, qkd_runs.complete(cell.spec))
    for cell in sparse_ternary.cells(parameters.check("10_sparse_ternary")):
        sizes = costs.sizes_of(Architecture("ternary", "mlp", "mnist5k", cell.spec["width"]))
        share = 1 if cell.role == "binary" else 0.1
        nonzeros = {f"nonzeros_{one.name}": round(share * one.mw * one.mh) for one in sizes}
        put(sparsity_runs.study, cell.spec, **nonzeros)
    for cell in syq.cells(parameters.check("11_syq")):
        put(syq_runs.training, cell.spec)
    p = parameters.check("12_addnet", sets="published,unoptimised", methods="float32,4-bit")
    for cell in addnet.cells(p):
        if cell.dataset == "mnist5k":
            put(addnet_runs.training, cell.spec)
    for bits in (5, 9):
        circuits = (hardware.rccm.published(name) for name in hardware.rccm.WIRING)
        for circuit in circuits:
            row = pd.DataFrame(
                [{"multiplier": circuit.architecture, "input_bits": bits, "lut": 2 * bits + 12}]
            )
            spec = store.spec(grid.synthesise_rccm, **grid.parameters(circuit), input_bits=bits)
            store.get_or_run(spec, lambda row=row: row)
    other = grid.parameters(enumerate_sets("2-Add").circuit(0))
    for bits in (5, 16):  # not of Table 6.3
        row = pd.DataFrame([{"multiplier": "2-Add", "input_bits": bits, "lut": 9 * bits}])
        spec = store.spec(grid.synthesise_rccm, **other, input_bits=bits)
        store.get_or_run(spec, lambda row=row: row)
    pruned = {"sigma": 0.9, "eta": 0.9, "strength": 1e-5}
    for on in ({}, {"granularity": "row"}, pruned, {"granularity": "row", **pruned}):
        codes = {"bits_ternary": 2000, "bits_RLE": 900, "bits_HC": 950, "scales": 5, "zeros": 90.0}
        spec = combining_runs.complete({"dataset": "mnist5k", "width": 8, **on})
        put(combining_runs.training, spec, valid_error=11.0, pruned=0.0, **codes)
    first = {"dataset": "mnist5k", "width": 0.1, "epochs": 1, "images": 100}
    for spec in pruning_runs.chain(first, [{"conv1": 4}], "l1"):
        put(pruning_runs.training, spec)


def put_into(folder, patch):
    """Results go to `folder`, and no published one is seen."""
    patch.setenv("QBENCH_RESULTS", str(folder / "results"))
    patch.setattr(paths, "PUBLISHED", folder / "published")


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """The folder of a store with a training or two of each kind."""
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        put_into(folder, patch)
        fill()
    return folder


@pytest.fixture(scope="module")
def frame(filled):
    """The table of that store."""
    with pytest.MonkeyPatch.context() as patch:
        put_into(filled, patch)
        return comparison.table(asked(datasets="mnist5k"))


# Readers


def test_every_kind_of_training_is_found(frame):
    there = set(frame["method"])
    assert there == set(METHODS) - {"evolved", "random search"}
    assert set(frame["chapter"]) == {2, 8, 9, 10, 11, 12, 13, 17, 18}
    assert list(frame["method"].cat.categories) == list(METHODS)
    swept = frame[frame["method"] == "bit-width sweep"].iloc[0]
    assert (swept.seeds, swept.accuracy, swept.weights) == (2, 93.0, 74_368)
    assert swept.half_width == pytest.approx(12.706, abs=1e-3)  # Student's t, one degree of freedom
    assert swept.memory == 74_368 * 2 / 8


def test_combined_methods_take_the_shortest_code_and_their_scales(frame):
    rows = frame[frame["chapter"] == 18].set_index("network")
    assert len(rows) == 4 and (rows.memory == (900 + 32 * 5) / 8).all()
    assert dict(zip(rows.index.str.split(", ", n=1).str[1], rows.method, strict=True)) == {
        "η = 0.333, 10 epochs": "QAT",
        "η = 0.333, a scale a row, 10 epochs": "SYQ",
        "η = 0.9, pruned at σ = 0.9, L2 1e-5, 10 epochs": "sparse ternary",
        "η = 0.9, a scale a row, pruned at σ = 0.9, L2 1e-5, 10 epochs": "combined",
    }
    assert (rows.epochs == 2 * 5).all() and (rows.accuracy == 90).all()


def test_only_printed_multipliers_count(filled, monkeypatch):
    put_into(filled, monkeypatch)
    lines = {name: (slope, at_0) for name, slope, at_0 in comparison.rccm_luts(published=False)}
    assert set(lines) == set(hardware.rccm.WIRING)
    assert all(np.allclose(line, (2, 12)) for line in lines.values())


def test_densenets_have_the_latency_of_their_quickest_runtime(filled, monkeypatch):
    put_into(filled, monkeypatch)
    planned = {"network": "densenet37", "dataset": "mnist5k", "forms": ["original"], "share": 0.5}
    float32 = devices_networks.plan(planned).training("original")
    for seed in (1, 0):
        put(qkd_runs.study, float32 | {"seed": seed})
    slow = {"form": "original", "precision": "float32", "device": "cpu", "threads": 1}
    rows = [
        slow | {"runtime": "pytorch", "batch": 1, "ms": 9.0},
        slow | {"runtime": "openvino", "batch": 1, "ms": 4.0},
        slow | {"runtime": "openvino", "batch": 64, "ms": 1.0},
        slow | {"runtime": "openvino", "batch": 1, "ms": 2.0, "precision": "int8"},
    ]
    on = {"processor": "A", "cores": 2, "accelerators": [], "instructions": ["AVX2"]}
    measured = {name: [] for name in ("runtimes", "precisions", "devices", "batches")}
    measured |= {"threads": None, "rounds": 1, "seconds": 1.0, "latency_seconds": 1.0}
    timed = store.spec(devices.speeds, planned=planned, **measured, on=on)
    store.get_or_run(timed, lambda: pd.DataFrame(rows))
    found = comparison.table(asked(datasets="mnist5k", methods="float32"))
    (row,) = found[found["latency"].notna()].to_dict("records")
    assert row["latency"] == 4 and row["throughput"] == 250 and row["chapter"] == 9
    assert "on: A, 2 cores, AVX2; OpenVINO with 1 thread" in row["throughput_by"]


def test_bits_by_layer_cost_what_each_layer_has(frame):
    mixed = frame[frame["method"] == "mixed precision"].iloc[0]
    assert mixed.network.endswith("W1-2-2-4 A3")
    sizes = (1024 * 64, 64 * 64, 64 * 64, 64 * 10)
    assert mixed.memory == sum(n * b for n, b in zip(sizes, (1, 2, 2, 4), strict=True)) / 8
    assert mixed.throughput > 0 and mixed.lut > 0
    # Where all layers agree, naming them one by one changes nothing.
    one = Design(PERCEPTRON, 2, 4, signed_acts=True)
    same = replace(one, layer_bits=((2, 4),) * 4)
    for cost in (costs.memory, costs.energy):
        assert cost(same) == cost(one)
    assert costs.layers(same, TERMS) == costs.layers(one, TERMS)


def test_what_is_missing_has_its_reason(frame):
    for value, why in (("throughput", "why_no_throughput"), ("lut", "why_no_lut")):
        assert (frame[value].isna() == (frame[why] != "")).all()
    float32 = frame[frame["method"] == "float32"]
    assert float32["why_no_lut"].eq(costs.FLOAT_UNITS).all()
    assert (frame["throughput"].isna() == (frame["throughput_by"] == "")).all()


def test_methods_with_hardware_of_their_own_are_costed_by_it(frame):
    own = frame[frame["chapter"] != 18]  # which has float32 activations and, mostly, scales
    by = {name: set(rows["throughput_by"]) for name, rows in own.groupby("method", observed=True)}
    assert by["sparse ternary"] == {f"{costs.SPARSE}, ZU9EG"}
    assert by["AddNet"] <= {f"{costs.RCCM}, ZU9EG", ""} and f"{costs.RCCM}, ZU9EG" in by["AddNet"]
    assert f"{costs.DENSE}, ZU9EG" in by["pruned"]
    scaled = frame[(frame["method"] == "SYQ") & frame["throughput"].notna()]
    assert scaled["assumed"].eq("first and last layer at 8 bits").all() and len(scaled)


def test_pruned_networks_are_smaller(frame):
    rows = frame[frame["chapter"] == 13].set_index("method")
    pruned, whole = rows.loc["pruned"], rows.loc["QAT"]
    assert pruned.weights < whole.weights and pruned.macs < whole.macs
    assert pruned.memory < whole.memory and pruned.epochs > whole.epochs


def test_the_published_results_of_cifar10_are_read():
    found = everything(Asked(["cifar10"], published=True))
    kinds = {one.method for one in found}
    assert {"float32", "distilled", "evolved", "random search"} <= kinds
    timed = [one for one in found if one.chapter == 6 and one.latency_ms == one.latency_ms]
    assert {one.design.architecture.network for one in timed} == {"flex_student"}
    assert all("an equal network" in one.measured_on for one in timed)
    assert all(one.accuracy > 20 for one in found if one.chapter == 7)


def test_another_data_set_is_not_read(results):
    put(sweep.quant_mlp, {"dataset": "mnist5k", "weight_bits": 2, "act_bits": 2})
    assert everything(Asked(["mnist"])) == []
    assert everything(Asked(["mnist5k"], published=True)) == []
    assert len(everything(Asked(["mnist5k"]))) == 1
    empty = comparison.table(asked(datasets="mnist"))
    assert empty.empty and list(empty) == list(comparison.COLUMNS)


# Costs


def test_a_network_of_the_sweep_costs_what_chapter_5_says():
    design = Design(PERCEPTRON, 3, 3, signed_acts=True)
    setup = Setup()
    rate, by, why = costs.speed(design, TERMS)
    assert rate == setup.measures(setup.fastest("W3A3"))["frame_rate"] and (by, why) == (
        costs.DENSE,
        "",
    )
    use, _ = costs.resources(design, TERMS)
    assert use["lut"] == setup.cheapest("W3A3", 30).cost.lut
    assert (costs.weights(design), costs.macs(design)) == (74_368, 74_368)


def test_resources_buy_real_time():
    slow = costs.resources(Design(PERCEPTRON, 3, 3), TERMS)[0]["lut"]
    fast = costs.resources(Design(PERCEPTRON, 3, 3), replace(TERMS, real_time=1e6))[0]["lut"]
    assert fast > slow
    use, why = costs.resources(Design(PERCEPTRON, 3, 3), replace(TERMS, real_time=1e9))
    assert math.isnan(use["lut"]) and why.startswith("frame_rate must be at most")


def test_adders_take_the_place_of_products():
    layer = hardware.mlp(weight_bits=4, act_bits=8)[1]
    values = {name: getattr(layer, name) for name in layer.__dataclass_fields__}
    made = costs.RccmLayer(**values, coefficient_bits=8, product_luts=28)
    plain = hardware.mlp(weight_bits=8, act_bits=8)[1]
    for pe, simd in ((1, 1), (4, 8)):
        ours, without = made.cost(pe, simd), plain.cost(pe, simd, multipliers="dsp")
        assert ours.lut == without.lut + 11 * pe * simd * 28 // 10
        assert ours.bram18 == layer.cost(pe, simd).bram18 and ours.dsp == 0
        assert ours.cycles == plain.cost(pe, simd).cycles
        inside = made.cost(pe, simd, weight_storage="lut")
        stored = layer.cost(pe, simd, weight_storage="lut").lut - layer.cost(pe, simd).lut
        assert inside.lut - ours.lut == stored and inside.bram18 == 0


def test_float_layers_need_an_assumption():
    design = Design(Architecture("small", "resnet20", "cifar10", 0.1), 2, 2, outer_bits=32)
    assert costs.speed(design, TERMS)[0] > 0
    rate, _, why = costs.speed(design, replace(TERMS, outer_bits=None))
    assert math.isnan(rate) and why == "the method leaves its first and last layer in float32"
    with pytest.raises(HardwareError, match="no synthesised 3-Add"):
        costs.layers(replace(design, multiplier=("3-Add", 8)), TERMS)


def test_energy_is_operations_times_energy():
    assert costs.operation(32, 32) == pytest.approx(3.7 + 0.9)
    assert costs.operation(1, 32) == 0.9  # a sign, and an addition
    assert costs.operation(8, 8, inputs=1) == pytest.approx(
        0.2 + 0.03 + 0.07 * 8 / 24
    )  # 16-bit sums
    assert costs.energy(Design(PERCEPTRON)) == pytest.approx(74_368 * 4.6e-12)
    sparse = Design(Architecture("ternary", "mlp", "mnist", 64), 2, 32, nonzeros=(0.5,) * 4)
    assert costs.energy(sparse) == pytest.approx(costs.macs(sparse) * 0.45e-12)


@given(st.integers(1, 15), st.integers(1, 15), st.integers(1, 10_000))
def test_more_bits_take_more_energy(w, a, inputs):
    here = costs.operation(w, a, inputs=inputs)
    assert here < costs.operation(w + 1, a, inputs=inputs)
    assert here < costs.operation(w, a + 1, inputs=inputs)


# Fronts


def designs(points):
    """A table of networks from (accuracy, throughput, LUTs), None where missing."""
    rows = [
        {"dataset": name, "method": "QAT", "accuracy": a, "accuracies": (a, a), "network": str(n)}
        | {"throughput": t, "lut": lut, "bram18": lut, "memory": lut, "energy": lut, "latency": lut}
        for n, (name, a, t, lut) in enumerate(points)
    ]
    frame = pd.DataFrame(rows)
    return frame.astype({name: float for name in ("throughput", "lut", "accuracy")})


point = st.tuples(
    st.sampled_from(["mnist", "cifar10"]),
    st.integers(10, 14).map(float),
    st.one_of(st.none(), st.integers(1, 5).map(float)),
    st.integers(1, 5).map(float),
)


@given(st.lists(point, min_size=1, max_size=12))
def test_a_network_is_on_the_front_unless_one_of_its_data_set_beats_it(points):
    frame = designs(points)
    for names in (["throughput"], ["lut"], ["throughput", "lut"]):
        marked = comparison.on_front(frame, names).tolist()
        signs = {"accuracy": 1, "throughput": 1, "lut": -1}
        values = [[signs[n] * row[n] for n in ("accuracy", *names)] for _, row in frame.iterrows()]
        for place, mine in enumerate(values):
            rivals = [
                other
                for at, other in enumerate(values)
                if points[at][0] == points[place][0] and not np.isnan(other).any()
            ]
            beaten = any(np.all(np.array(r) >= mine) and np.any(np.array(r) > mine) for r in rivals)
            assert marked[place] == (not np.isnan(mine).any() and not beaten)


@given(st.lists(point, min_size=1, max_size=12))
def test_along_a_front_accuracy_and_cost_rise_together(points):
    frame = designs(points)
    for cost, sign in (("throughput", -1), ("lut", 1)):
        best = comparison.front(frame, "mnist", cost)
        for one, other in pairwise(best.itertuples()):
            dearer = sign * (getattr(other, cost) - getattr(one, cost))
            gained = other.accuracy - one.accuracy
            assert (dearer > 0 and gained > 0) or dearer == gained == 0
            assert other.gain == pytest.approx(gained)


def test_an_unknown_cost_is_refused():
    with pytest.raises(ValueError, match="cost must be one of throughput, .*, not 'power'"):
        comparison.on_front(designs([("mnist", 1.0, 1.0, 1.0)]), "power")


def test_seeds_decide_whether_a_gain_is_one():
    assert comparison.differ((90.0, 90.1, 90.2), (91.0, 91.1, 91.2)) == "yes"
    assert comparison.differ((90.0, 92.0), (91.0, 92.0)) == "no"
    assert comparison.differ((90.0,), (91.0, 92.0)) == comparison.ONE_SEED
    assert comparison.differ((90.0, 90.0), (91.0, 91.0)) == "yes"
    assert comparison.differ((90.0, 90.0), (90.0, 90.0)) == "no"


# The page


def test_the_page_shows_and_counts_what_there_is(frame):
    known = ",".join(frame["method"].unique())
    p = asked(datasets="mnist5k", min_accuracy=91, methods=known)
    kept = comparison.shown(frame, p)
    assert set(kept["accuracy"]) == {93.0}
    out = page.missing(frame, p)
    cut = out[out["why"] == "less than 91 % of the test images right"]
    assert cut["networks"].sum() == len(frame) - len(kept)
    p = asked(datasets="mnist5k", cost="lut")
    fig = page.figure(frame, "mnist5k", p)
    names = fig.layout.meta["menu"]["names"]
    assert names[fig.layout.meta["menu"]["first"]] == page.labels(p)["lut"] and len(names) == 5
    assert plots.static(fig).axes
    table = page.front_table(frame, "mnist5k", p)
    assert len(table) == comparison.on_front(frame, "lut").sum()
    written = plots.table(table, caption="front", formats={page.labels(p)["lut"]: page.amount})
    assert page.amount(table[page.labels(p)["lut"]].iloc[-1]) in written.text
    assert (page.amount(1234567.8), page.amount(0.12345)) == ("1,234,568", "0.1235")
    assert page.compared(frame)["networks"].sum() == len(frame)
    said = judged.lessons(frame, p)
    assert f"compares {len(frame)} networks" in said and "**mnist5k**" in said


def test_a_method_without_a_network_says_where_it_was_trained(frame, filled, monkeypatch):
    put_into(filled, monkeypatch)
    p = asked(datasets="mnist", methods="SYQ,evolved")
    out = page.missing(frame.iloc[:0], p).set_index("methods")
    assert out.loc["SYQ", "why"].startswith("trained on mnist5k (up to ")
    assert out.loc["SYQ", "networks"] == (frame["method"] == "SYQ").sum()
    assert out.loc["evolved", "why"] == "no training of it is stored"
    here = page.missing(frame, asked(datasets="mnist5k", methods="SYQ"))
    assert "SYQ" not in set(here.loc[here["missing"] == "all of it", "methods"])


def test_captions_say_where_real_time_is(frame):
    p = asked(datasets="mnist5k")
    fast = frame.assign(throughput=[1e6 + k for k in range(len(frame))])
    said = page.caption(page.figure(fast, "mnist5k", p), fast, "mnist5k", p)
    assert said.endswith("shown, real time, 30 frames/s, is left of the figure.")
    slow = frame.assign(throughput=[1.0 + 90 * (k % 2) for k in range(len(frame))])
    said = page.caption(page.figure(slow, "mnist5k", p), slow, "mnist5k", p)
    assert said.endswith("Dotted, where throughput is shown: real time, 30 frames/s.")


def test_names_of_sparse_ternary_networks_tell_all_that_differs(frame):
    rows = frame[frame["method"] == "sparse ternary"]
    names = rows.loc[rows["chapter"] == 10, "network"]
    assert names.is_unique and names.str.fullmatch(r"MLP of 3 × [\d,]+, η = .*\d+ epochs?").all()


def test_compromises_have_words_and_units():
    points = [("mnist", 90.0, 1e6, 1.0), ("mnist", 97.0, 9e5, 2.0), ("mnist", 98.0, 1e3, 9.0)]
    frame = designs(points).assign(weight_bits=[1, 3, 8], act_bits=[1, 2, 8], method=judged.SWEEP)
    found = page.compromised(frame).set_index("accuracy against")
    assert found.loc["throughput", "cost"] == "900,000 frames/s"
    assert found.loc["LUTs", "cost"].endswith(" LUTs") and "weight bits" in found


def test_claims_are_judged_by_the_published_networks():
    p = asked(datasets="cifar10", stored="published", methods="evolved")
    frame = comparison.table(p)
    rows = judged.claims(frame).set_index("claim")
    assert set(rows["verdict"]) == {"trend", "exact"} and len(rows) == 2
    printed = judged.figure_11(frame).set_index("device")
    assert printed.loc["FPGA", "verdict"] == "matches"
    assert printed.loc["VPU", "verdict"] == "needs hardware"
    assert judged.claims(frame.iloc[:0]).empty


def test_a_compromise_lies_between_the_ends_of_a_front():
    points = [("mnist", 90.0, 1e6, 1.0), ("mnist", 97.0, 9e5, 2.0), ("mnist", 98.0, 1e3, 9.0)]
    frame = designs(points).assign(weight_bits=[1, 3, 8], act_bits=[1, 2, 8])
    found = judged.compromises(frame).set_index("plane")
    assert found.loc["throughput", ["weight_bits", "act_bits"]].tolist() == [3, 2]
    assert judged.compromises(frame.iloc[:2]).empty


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"datasets": "imagenet"}, "datasets must be a list"),
        ({"cost": "power"}, "cost must be one of throughput, lut"),
        ({"methods": "SYQ,magic"}, "methods must be a list"),
        ({"real_time": 0}, "real_time must be a number above 0"),
        ({"min_accuracy": 101}, "min_accuracy must be a number"),
        ({"outer_bits": 17}, "outer_bits must be a whole number from 1 to 16, or None"),
        ({"device": "Z9"}, "device must be one of"),
    ],
)
def test_impossible_parameters_are_one_sentence(values, said):
    with pytest.raises(ParameterError, match="^[^\n]*$") as caught:
        asked(**values)
    assert str(caught.value).startswith(said)


def test_every_method_can_be_asked_for():
    assert asked().methods == list(METHODS)
