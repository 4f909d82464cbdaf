"""Chapter 14: whose measurements count, Tables 7.1 to 7.3 with their normalisation, its claims."""

import math
import sys
from dataclasses import asdict, replace

import pandas as pd
import pytest
import torch
from torch import nn

from qbench import parameters, reference, store
from qbench.qkd.networks import Bits, Single, calibrate
from qbench.quantizers.networks import Quantised
from qbench.runtimes import machine
from qbench.runtimes.throughput import COLUMNS
from qbench.studies import devices as study
from qbench.studies import devices_claims as judged
from qbench.studies import devices_lessons as learnt
from qbench.studies import devices_networks as networks
from qbench.studies import devices_tables as tables
from qbench.studies import dpu_tables

CHAPTER = "14_devices"
THEIRS = {
    "processor": "Another",
    "cores": 64,
    "instructions": ["AVX2", "AVX-512", "VNNI"],
    "accelerators": [],
    "versions": {"torch": "1"},
}
# form, runtime, precision → ms of one image, images/s at batch 64
MEASURED = {
    ("original", "pytorch", "float32"): (10.0, 200.0),
    ("modified", "pytorch", "float32"): (9.0, 210.0),
    ("original", "openvino", "float32"): (5.0, 400.0),
    ("modified", "openvino", "float32"): (4.0, 410.0),
    (networks.OURS, "openvino", "int8"): (4.5, 380.0),
    (networks.STATIC, "openvino", "int8"): (2.0, 820.0),
}


def speeds(network="densenet21", slower=1.0, devices=("cpu",)):
    rows = []
    for device in devices:
        for (form, runtime, precision), (ms, rate) in MEASURED.items():
            if device == "cuda" and (runtime, precision) != ("pytorch", "float32"):
                continue
            for batch, took in ((1, ms), (64, 64e3 / rate)):
                took *= slower
                row = dict.fromkeys(COLUMNS, 0.0) | {
                    "runtime": runtime, "precision": precision, "device": device, "batch": batch,
                    "threads": 2, "ms": took, "low_ms": took, "high_ms": took, "joules": math.nan,
                    "images_per_second": 1e3 * batch / took, "low_rate": 1e3 * batch / took,
                    "high_rate": 1e3 * batch / took, "energy_by": "none", "mhz": 2000.0,
                }  # fmt: skip
                del row["network"]
                rows.append(row | {"form": form, "network": network})
    return pd.DataFrame(rows)


def checks(network="densenet21", trained=True):
    same = {"device": "cpu", "network": network, "trained": trained, "missing": ""}
    rows = [
        same
        | {"form": form, "runtime": runtime, "precision": precision, "accuracy": 90.0}
        | {"reference": 91.0, "classes_differ": 3, "images": 200, "difference": 0.01}
        | {"multiplying": 21, "integer": 21 if form == networks.STATIC else 0}
        | {"integer_time": 90.0, "multiplying_time": 95.0, "rest_time": 5.0, "names": "conv"}
        for form, runtime, precision in MEASURED
    ]
    gone = {"form": "original", "runtime": "pytorch", "precision": "float32"}
    rows.append(same | gone | {"device": "cuda", "missing": "PyTorch finds no CUDA device."})
    return pd.DataFrame(rows)


def found(*names, **how):
    names = names or ("densenet21",)
    many = pd.concat([speeds(n, slower=1 + k, **how) for k, n in enumerate(names)])
    return study.Found(many, pd.concat([checks(n) for n in names]), THEIRS, here=False)


def test_a_second_measurement_beside_the_first():
    first = found("densenet21", "densenet37")
    assert tables.repeated(first).empty
    wide = first.speeds.assign(
        low_rate=0.9 * first.speeds["images_per_second"],
        high_rate=1.1 * first.speeds["images_per_second"],
    )
    later = wide.copy()
    numbers = ["images_per_second", "low_rate", "high_rate"]
    later.loc[later["network"] == "densenet21", numbers] *= 1.15  # rounds overlap
    strange = (later["network"] == "densenet37") & (later["runtime"] == "pytorch")
    later.loc[strange, numbers] *= 2
    both = study.Found(wide, first.checks, THEIRS, here=False, again=later.sample(frac=1))
    rows = tables.repeated(both).set_index("network")
    assert rows.loc["DenseNet-21"].tolist() == pytest.approx([12, 100, 15, 15])
    assert rows.loc["DenseNet-37"].tolist() == pytest.approx([12, 100 * 8 / 12, 0, 100])
    said = learnt.lessons(both, asked(networks=["densenet21", "densenet37"]))
    assert "* DenseNet-37 once more: 12 throughputs, 0.0 % from the first in the median" in said
    assert "for 67 %; best throughputs: float32 / eager 1.05, int8 / float32 1.95." in said
    floats = replace(both, again=both.again[both.again["precision"] == "float32"])
    assert "float32 / eager 1.05." in learnt.lessons(floats, asked())
    assert "once more" not in learnt.lessons(first, asked())


def asked(**values):
    return parameters.check(CHAPTER, **{"batches": [1, 64]} | values)


# Whose measurements count


@pytest.fixture(autouse=True)
def no_book(monkeypatch):
    monkeypatch.delenv("QBENCH_BOOK", raising=False)


def stored(p, on):
    """All measurements of the page as that machine would have stored them."""
    [one] = study.plans(p)
    same = {"planned": asdict(one), "runtimes": p.runtimes, "precisions": p.precisions}
    same |= {"devices": p.devices, "on": on}
    more = {"batches": p.batches, "threads": p.threads, "rounds": p.rounds}
    more |= {"seconds": p.seconds, "latency_seconds": p.latency_seconds}
    store.get_or_run(store.spec(study.checks, **same, tested=p.tested), checks)
    store.get_or_run(store.spec(study.speeds, **same, **more), speeds)


def test_the_book_shows_another_machines_measurement_by_name(results, monkeypatch):
    p = asked()
    stored(p, THEIRS)
    monkeypatch.setenv("QBENCH_BOOK", "1")
    shown = study.measured(p)
    assert not shown.here and shown.machine == THEIRS
    assert study.described(shown) == (
        "the machine of the published run, Another, 64 cores, AVX2/VNNI"
    )
    assert "Another, 64 cores" in set(tables.about(shown, p)["value"])


@pytest.mark.parametrize("book", [False, True])
def test_what_this_machine_measured_comes_first(results, monkeypatch, book):
    p = asked()
    stored(p, THEIRS)
    stored(p, machine.fingerprint())
    if book:
        monkeypatch.setenv("QBENCH_BOOK", "1")
    shown = study.measured(p)
    assert shown.here and study.described(shown).startswith("this machine, ")


@pytest.mark.parametrize("environment", [{}, {"QBENCH_BOOK": "1", "QBENCH_RECOMPUTE": "1"}])
def test_a_reader_and_a_recomputation_measure_here(results, monkeypatch, environment):
    p = asked()
    stored(p, THEIRS)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    ran = []
    monkeypatch.setattr(store, "run", lambda function, **v: ran.append(v["on"]) or speeds())
    assert study.measured(p).here
    assert ran == [machine.fingerprint()] * 2


def test_other_parameters_are_not_answered_with_what_is_published(results, monkeypatch):
    stored(asked(), THEIRS)
    monkeypatch.setenv("QBENCH_BOOK", "1")
    monkeypatch.setattr(store, "run", lambda function, **values: speeds())
    assert study.measured(asked(rounds=4)).here


# Tables


def row(p, platform, whose="measured", **how):
    table = tables.comparison(found(**how), "densenet21", p)
    return table.set_index(["whose", "platform"]).loc[(whose, platform)]


def test_the_printed_columns_are_those_of_table_7_1():
    p = asked()
    one = row(p, "QCPU", "thesis")
    assert (one["images/s"], one["latency speed-up"]) == (1717.07, 0.83)
    assert row(p, "DPU", "thesis")["efficiency, best latency"] == 39.80


def test_ours_are_relative_to_plain_pytorch_in_the_original_form():
    p = asked()
    plain, best = row(p, "CPU, PyTorch eager"), row(p, "CPU, best float32")
    assert (plain["images/s"], plain["latency (ms)"]) == (200, 10)
    assert (best["images/s"], best["throughput speed-up"]) == (410, 2.05)
    whole = row(p, "QCPU, best int8")
    assert (whole["throughput speed-up"], whole["latency speed-up"]) == (4.1, 5)
    assert "8 bits, all tensors, batch 64, 2 threads" in whole["how"]
    missing = row(p, "GPU, best")
    assert math.isnan(missing["images/s"]) and missing["how"] == "PyTorch finds no CUDA device."


def test_energy_is_stated_power_times_time_and_a_ratio_of_times_without():
    whole = row(asked(), "QCPU, best int8")
    assert math.isnan(whole["mJ/image, best latency"])
    assert (whole["efficiency, best latency"], whole["efficiency, best throughput"]) == (5, 4.1)
    assert math.isnan(row(asked(), tables.MODEL, "model")["efficiency, best latency"])
    p = asked(watts=50)
    whole, model = row(p, "QCPU, best int8"), row(p, tables.MODEL, "model")
    assert whole["mJ/image, best latency"] == pytest.approx(50 * 2.0)
    assert whole["mJ/image, best throughput"] == pytest.approx(1e3 * 50 / 820)
    assert whole["efficiency, best throughput"] == pytest.approx(4.1)
    expected = 50 * 10.0 / (22.8 * model["latency (ms)"])
    assert model["efficiency, best latency"] == pytest.approx(expected)
    assert set(study.with_energy(found().speeds, p)["energy_by"]) == {"power × time"}


def test_the_power_at_which_the_dpu_takes_as_much():
    table = tables.break_even(found("densenet21", "densenet121"))
    assert set(table["network"]) == {"DenseNet-21"}, "the thesis ran no other of them"
    rows = table.set_index(["platform", "operating point"])
    whole = rows.loc["QCPU, best int8", "best latency"]
    printed = row(asked(), "DPU", "thesis")
    assert whole["time (ms)"] == 2
    assert whole["equal at (W)"] == printed["mJ/image, best latency"] / 2
    watts = rows.loc[("CPU, PyTorch eager", "best throughput"), "equal at (W)"]
    at_that = row(asked(watts=watts), "CPU, PyTorch eager")["mJ/image, best throughput"]
    assert at_that == pytest.approx(printed["mJ/image, best throughput"])
    assert not table["platform"].eq("GPU, best").any()


def test_what_was_metered_is_not_replaced_by_stated_power():
    metered = speeds().assign(joules=0.25, energy_by="RAPL")
    after = study.with_energy(metered, asked(watts=50))
    assert set(after["joules"]) == {0.25} and set(after["energy_by"]) == {"RAPL"}


def test_untrained_networks_have_no_accuracy_but_agreement():
    one = study.Found(speeds(), checks(trained=False), THEIRS, here=False)
    table = tables.accuracies(one)
    assert table["accuracy (%)"].isna().all() and (table["other class than that"] == 3).all()
    assert tables.accuracies(found())["accuracy (%)"].eq(90).all()


def test_the_dpu_model_beside_all_published_figures():
    table = dpu_tables.errors()
    assert len(table) == 12
    assert (table.loc[table["quantity"].str.startswith("latency"), "error (%)"] < 0).all()


def test_without_openvino_and_a_gpu_the_page_is_whole(results, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)  # importing it fails as if it were not there
    p = asked(trained=[], tested=16, calibrated=16, batches=[1, 2], rounds=1)
    before = torch.get_num_threads()
    measured = study.measured(p)
    assert torch.get_num_threads() == before, "others go on with as many threads"
    there = tables.offered(measured).set_index("backend")["there"]
    assert "pip install 'qbench[runtimes]'" in there["OpenVINO, float32, CPU"]
    assert there["ONNX Runtime, int8, CPU"] == "yes" == there["PyTorch, float32, CPU"]
    assert set(measured.speeds["runtime"]) == {"pytorch", "onnxruntime"}
    every = tables.comparison(measured, "densenet21", p)
    assert every.set_index(["whose", "platform"])["images/s"]["measured", "QCPU, best int8"] > 0
    assert judged.claims(measured, p)["verdict"].all() and learnt.lessons(measured, p)


# Claims


def claims(measured, p) -> pd.DataFrame:
    """The chapter's table under the names of the claims."""
    named = reference.claims("vailakis2022").set_index("statement")["claim"]
    table = judged.claims(measured, p)
    return table.set_index(table["claim"].map(named))


def test_every_claim_is_the_thesis_and_has_a_verdict():
    p = asked()
    table = claims(found("densenet21", "densenet37"), p)
    assert table.index.is_unique
    verdicts = table["verdict"]
    assert verdicts["dpu_latency_speedup_minimum"] == "erratum"
    assert verdicts["qcpu_throughput_speedup"] == "erratum"
    assert verdicts["larger_models_hinder_all_platforms"] == "trend"
    assert verdicts["gpu_has_best_throughput_densenet_21"] == "needs hardware"
    assert verdicts["dpu_has_best_energy"] == "needs hardware"
    assert verdicts["cpu_best_latency_batch"] == "trend"
    assert verdicts["cpu_best_throughput_batch_maximum"] == "needs hardware"  # batches end too soon
    assert (table.loc[verdicts.isin(["differs", "needs hardware"]), "why"] != "").all()
    said = table.loc["dpu_latency_speedup_densenet_21", "ours"]  # 2 ms here, 0.69 ms printed
    assert said.startswith("2.9×; by the model ")
    assert verdicts["dpu_latency_speedup_densenet_21"] == "differs"
    powered = claims(found(), asked(watts=200))
    assert powered.loc["dpu_has_best_energy", "verdict"] == "trend"


def test_claims_of_batches_where_the_list_is_long_enough():
    p = asked(batches=[1, 64, 256])
    table = claims(found(), p)["verdict"]
    assert table["cpu_best_throughput_batch_minimum"] == "trend"
    assert table["cpu_best_throughput_batch_maximum"] == "differs"  # ours peaks at 64
    assert table["qcpu_best_throughput_batch_minimum"] == "differs"


def test_a_gpu_is_judged_where_it_was_measured():
    table = claims(found(devices=("cpu", "cuda")), asked())["verdict"]
    assert table["gpu_has_best_throughput_densenet_21"] == "differs"


def test_without_int8_nothing_is_said_of_it():
    one = found()
    floats = one.speeds[one.speeds["precision"] == "float32"]
    only = study.Found(floats, one.checks[one.checks["precision"] == "float32"], THEIRS, here=False)
    p = asked(precisions=["float32"])
    verdicts = claims(only, p)["verdict"]
    assert verdicts["qcpu_throughput_speedup"] == "needs hardware"
    assert "no int8 was measured" in learnt.lessons(only, p)


def test_speed_ups_on_the_other_side_of_1_differ():
    table = judged.beside_tables(found(), asked()).set_index(["platform", "quantity"])["verdict"]
    assert table["QCPU", "throughput speed-up"] == "trend"
    assert table["QCPU", "latency speed-up"] == "differs"  # 0.83 printed, 5 here


def test_lessons_name_networks_that_were_not_computed_with_integers():
    said = learnt.lessons(found(), asked())
    assert "not everything was by OpenVINO with “8 bits”." in said
    assert "DenseNet-21: 1.00 points less accuracy at most, on 200 test images." in said
    assert "busy" not in said


def test_lessons_name_what_int8_was_measured_with_at_either_point():
    fast = found()
    quick = (fast.speeds["form"] == networks.OURS) & (fast.speeds["batch"] == 1)
    fast.speeds.loc[quick, "ms"] = 1.0
    said = learnt.lessons(fast, asked())
    assert "With one image the best int8 is 4.00 times as quick" in said
    both = (
        "throughput: OpenVINO, 8 bits, all tensors, batch 64, 2 threads; latency: OpenVINO, 8 bits"
    )
    assert f"Int8 by {both}, 2 threads." in said


def test_lessons_say_where_the_time_goes_at_the_best_throughputs():
    said = learnt.lessons(found(), asked())
    assert "the one that measured has VNNI. At the best throughputs" in said
    times = "DenseNet-21 multiplies for 2.32 ms an image in float32 and 1.16 in int8"
    assert f"{times}, and does other things for 0.12 and 0.06." in said
    old = study.Found(found().speeds, checks(), THEIRS | {"instructions": ["AVX2"]}, here=False)
    assert "the one that measured has none of these." in learnt.lessons(old, asked())


def test_lessons_name_the_networks_that_waited_for_a_processor():
    busy = found("densenet21", "densenet37")
    busy.speeds.loc[busy.speeds["network"] == "densenet37", "waited"] = 0.15
    said = learnt.lessons(busy, asked())
    assert "median: DenseNet-37 with 2 threads 15 %." in said
    assert "DenseNet-21 and DenseNet-37: 1.00 points" in said


def test_a_clock_that_never_changed_is_one_number():
    p, one = asked(), found()
    assert "2,000 MHz" in set(tables.about(one, p)["value"])
    one.speeds.loc[one.speeds["batch"] == 1, "mhz"] = 1500.0
    assert "1,500 to 2,000 MHz" in set(tables.about(one, p)["value"])


def test_a_claim_about_batches_says_what_was_measured():
    said = claims(found(), asked(batches=[1, 64, 256]))["ours"]
    peak = said["cpu_best_throughput_batch_maximum"]
    assert peak == "plain PyTorch: DenseNet-21 batch 64"
    assert said["qcpu_best_latency_batch"] == "best int8: least with one image for 1 of 1 networks"


def test_exceptions_of_the_dpu_have_words():
    assert not dpu_tables.exceptions()["quantity"].str.contains("_|bram").any()


# Networks of 8 bits


def test_weights_of_7_bits_keep_their_numbers_as_codes_of_8_bits():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10))
    single = Single(model, Bits(networks.NARROW, 8, "learnt", per_channel=True))
    pictures = torch.randn(16, 3, 8, 8)
    calibrate(single, pictures[None])
    before = single(pictures[None])
    networks._widen(single)
    assert torch.allclose(single(pictures[None]), before, atol=1e-5)
    for module in single.modules():
        if isinstance(module, Quantised):
            scale, zero = module.weights.grid()
            codes = module.layer.weight.flatten(1) / scale[:, None]
            assert module.weights.bits == 8 and not zero.any()
            assert codes.abs().max() < 63.01 and torch.allclose(codes, codes.round(), atol=1e-3)
