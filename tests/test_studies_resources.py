"""Chapter 03: estimates of the 64 networks, the formulas beside synthesis, and the claims."""

import numpy as np
import pandas as pd
import pytest

from qbench.errors import UserError
from qbench.hardware import flip_flops, layers, mvtu, synthesis
from qbench.hardware.devices import device
from qbench.hardware.folding import uniform
from qbench.studies import resource_claims as said
from qbench.studies import resources as study


def test_the_64_are_what_the_cost_models_say_of_each_network():
    """Against `folding.uniform`, which goes layer by layer and network by network."""
    frame = study.resources(network="tfc", parallelism=16, memories="a layer", thresholds="lut")
    assert len(frame) == 64
    for w, a in ((1, 1), (2, 5), (8, 8)):
        network = layers.mlp(weight_bits=w, act_bits=a)
        cost = uniform(network, 16, 16, threshold_storage="lut").cost
        row = frame[(frame.weight_bits == w) & (frame.act_bits == a)].iloc[0]
        for name in ("lut", "bram18", "dsp", "cycles"):
            assert row[name] == getattr(cost, name), (w, a, name)


def test_a_memory_for_each_pe_holds_the_same_weights_in_more_blocks():
    each, together = (study.resources(memories=m) for m in ("a PE", "a layer"))
    assert (each.bram18 >= together.bram18).all() and (each.bram18 > together.bram18).any()
    assert each.lut.equals(together.lut)
    # 32, 64, 32 memories of 512 words and 16 of 512, by hand: 64, 32, 64 and 8 bits at 1 bit
    by_hand = 32 * mvtu.bram18(64, 416) + 64 * mvtu.bram18(32, 512) + 32 * mvtu.bram18(64, 512)
    assert each.bram18.min() == by_hand + 16 * mvtu.bram18(8, 512) == 208


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"network": "vgg"}, ("network", "lfc, sfc, tfc", "'vgg'")),
        ({"memories": "shared"}, ("memories", "a PE, a layer", "'shared'")),
        ({"thresholds": "ram"}, ("threshold_storage", "none, lut, bram", "'ram'")),
        ({"parallelism": 0}, ("parallelism", "at least 1", "0")),
        ({"input_bits": 0}, ("input_bits", "at least 1", "0")),
        ({"weight_bits": [0, 1]}, ("weight_bits", "1 to 16")),
    ],
)
def test_one_sentence_for_what_cannot_be(options, names):
    with pytest.raises(UserError) as caught:
        study.resources(**options)
    message = str(caught.value)
    assert message.count(". ") == 0 and message.endswith(".")
    assert all(name in message for name in names), message


def frame_of(lut, ff, bram18):
    w, a = (g.ravel() for g in np.meshgrid(study.BITS, study.BITS, indexing="ij"))
    return pd.DataFrame(
        {"weight_bits": w, "act_bits": a, "lut": lut(w, a), "ff": ff(w, a), "bram18": bram18(w, a)}
    ).assign(dsp=0)


def test_effects_say_whose_bits_matter():
    frame = frame_of(lambda w, a: w + a, lambda w, a: 9.0 * a + w, lambda w, a: 7 * w)
    shares = study.effects(frame).set_index("resource").share
    assert shares.round(6).to_dict() == {"lut": 50, "ff": 90, "bram18": 0}


def test_claims_hold_on_numbers_made_to_hold_and_fail_on_others():
    good = frame_of(
        lambda w, a: 9000 * (w + a), lambda w, a: 30_000.0 * a + w, lambda w, a: 203 * w + 21
    )
    bad = frame_of(lambda w, a: 100 * w, lambda w, a: 50.0 * w, lambda w, a: a)
    verdicts = {
        name: said.claims({"made": frame}, "z7020").set_index("claim").verdict.to_dict()
        for name, frame in (("good", good), ("bad", bad))
    }
    assert set(verdicts["good"]) == set(verdicts["bad"]) and len(verdicts["good"]) == 9
    for claim, verdict in verdicts["good"].items():
        counts = any(word in claim for word in ("Seven", "22", "four"))
        assert verdict == ("differs" if counts else "trend"), claim
    assert set(verdicts["bad"].values()) == {"differs"}


def test_fitting_counts_each_resource_and_all():
    there = device("z7020")
    frame = pd.DataFrame(
        {
            "lut": [there.lut, there.lut + 1, 1],
            "ff": [1.0, 1.0, there.ff + 1],
            "bram18": [280, 281, 1],
            "dsp": [0, 0, 0],
        }
    )
    assert study.fitting(frame, there) == {"lut": 2, "ff": 2, "bram18": 2, "dsp": 3, "all": 1}
    unknown = study.fitting(frame.assign(ff=np.nan), there)
    assert "ff" not in unknown and unknown["all"] == 2


def test_equal_width_claims_follow_the_numbers():
    bits = np.arange(1, 9)
    straight = 100 * bits + 50
    bent = np.where(bits > 6, straight * 1.5, straight)
    rows = pd.DataFrame(
        {"bits": bits, "lut": bent, "ff": bent, "bram18": np.where(bits == 8, 300, bits)}
    ).assign(thresholds_in="block", dsp=0)
    verdicts = said.equal_width_claims(rows, "z7020").verdict.tolist()
    assert verdicts == ["trend"] * 5 + ["differs"]  # 300 block RAMs are more than it has
    flat = rows.assign(bram18=5 * bits, lut=straight, ff=straight)
    found = said.equal_width_claims(flat, "z7020").verdict.tolist()
    assert found == ["trend", "trend", "differs", "differs", "differs", "differs"]


def test_table_3_gives_a_verdict_to_each_end():
    frame = study.resources()
    table = said.table_3(frame.assign(ff=np.nan), {"lut": 20, "bram18": 7.5})
    assert dict(zip(table.resource, table.verdict, strict=True)) == {
        "BRAM18, least": "matches",
        "BRAM18, most": "differs",
        "LUT, least": "matches",
        "LUT, most": "differs",
    }
    exact = said.table_3(frame, {"bram18": 0.0}).set_index("resource").tolerance
    assert exact["BRAM18, least"] == "0 %, the median error of the estimate"
    assert exact["LUT, least"] == "", "without a tolerance nothing is said of one"


def test_the_printed_row_has_the_columns_of_ours():
    row = said.printed()
    assert set(row) < set(study.assumptions("z7020"))
    assert row["LUT"] == "53,336–223,910" and row["fit by flip-flops"] == 22


@pytest.fixture(scope="module")
def units():
    """The stored units; Yosys is not needed for them."""
    return pd.concat(
        [synthesis.synthesise_grid(), synthesis.synthesise_grid(thresholds=False)],
        ignore_index=True,
    )


def test_the_whole_grid_is_published(units, monkeypatch):
    monkeypatch.setattr("qbench.hardware.synthesis.yosys.available", lambda: False)
    assert len(units) == 2 * 3 * 64
    assert not units.duplicated(["pe", "weight_bits", "act_bits", "out_bits"]).any()
    assert units.yosys.nunique() == 1
    assert len(study.equal_widths("tfc", range(1, 9))) == 16
    assert synthesis.synthesise_grid(
        weight_bits=(4, 8), act_bits=(4, 8), thresholds=False, dsp=True
    ).dsp.any()


def test_errors_are_those_of_the_formula(units):
    beside = study.beside_formula(units)
    row = beside[(beside.weight_bits == 4) & (beside.act_bits == 3) & (beside.pe == 8)].iloc[0]
    cost = mvtu.estimate(256, 64, 8, 8, 4, 3, out_bits=3, threshold_storage="lut")
    assert row.lut_formula == cost.lut and row.bram18_formula == cost.bram18
    assert row.lut_error == pytest.approx(100 * (cost.lut / row.lut - 1))
    table = study.errors(beside)
    assert table[["resource", "units"]].values.tolist() == [
        ["LUT", "sums"],
        ["BRAM18", "sums"],
        ["LUT", "with thresholds"],
        ["BRAM18", "with thresholds"],
    ]
    assert (table["count"] == 192).all()


def test_the_flip_flop_model_in_use_is_the_one_fitted_to_the_grid(units):
    fitted = synthesis.fit_ff(units)
    in_use = flip_flops.model(flip_flops.MODEL_FILE)
    assert in_use == pytest.approx(fitted.coefficients, rel=1e-4)
    assert mvtu.estimate(256, 64, 8, 8, 4, 4, out_bits=4).ff > 0


def test_lessons_have_a_line_for_each_thing(units):
    beside = study.beside_formula(units)
    bases = {"LFC, formulas": study.resources()}
    equal = study.equal_widths("tfc", [7, 8])
    text = said.lessons(bases, beside, synthesis.fit_ff(units), equal, "z7020")
    assert text.count("\n* ") == 4 and "nan" not in text
    assert "(0 to +60 %)" in text and "by flip-flops" in text
    wide = beside[(beside.weight_bits > 3) & (beside.act_bits > 3) & ~beside.thresholds]
    ends = wide[wide.pe == 8].lut_error.agg(["min", "max"]).round()
    assert f"by {ends['min']:.0f} to +{ends['max']:.0f} % at PE = SIMD = 8" in text


def test_a_unit_of_the_readers_own_is_simulated():
    own = {"mw": 8, "mh": 4, "pe": 2, "simd": 4, "weight_bits": 2, "act_bits": 1}
    assert "every 4 cycles" in study.simulated(own, vectors=3)
