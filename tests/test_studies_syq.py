"""Chapter 11: which trainings are asked for, its table, ours beside the printed, its claims."""

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from qbench.hardware import scaling
from qbench.parameters.syq import SymmetricScales
from qbench.studies import syq, syq_claims
from qbench.syq import runs

ALL = {
    "dataset": "cifar10",
    "networks": ["alexnet_small", "resnet20"],
    "width": 1,
    "granularities": ["pixel", "row", "layer"],
    "codes": ["binary", "ternary"],
    "act_bits": [2, 8],
    "printed_gradient": False,
    "methods": ["float32", "bwn", "twn", "ttq", "dorefa"],
    "images": None,
    "seeds": [0, 1, 2],
}
GAIN = {"pixel": 3.0, "row": 2.9, "layer": 0.0, "asymmetric": 1.0, "channel": 1.0, "": 5.0}


def toy_log(spec):
    """An accuracy that rises with granularity, bits and, a little, the seed."""
    one = runs.complete(spec)
    where = one["granularity"] or syq.SCALED[one["method"]]
    accuracy = 60 + GAIN[where] + 0.05 * one["seed"]
    accuracy += 0.5 * np.log2(min(one["act_bits"], 8)) + min(one["weight_bits"], 3)
    accuracy -= 3 * (one["scale_gradient"] == "printed")
    error = 100 - accuracy
    names = ["train_loss", "valid_error", "test_error"]
    return pd.DataFrame([[2.0, np.nan, np.nan], [1.0, error, error]], columns=names)


@pytest.fixture
def table(monkeypatch):
    monkeypatch.setattr(runs, "trainings", lambda asked, **_: [toy_log(one) for one in asked])
    return syq.table(SymmetricScales(**ALL))


def test_cells_are_what_the_parameters_ask_for():
    p = SymmetricScales(**ALL)
    cells = syq.cells(p)
    # A network and a seed: float32, 3 granularities × 2 codes × 2 widths, 4 methods × 2 widths.
    assert len(cells) == 2 * 3 * (1 + 12 + 8)
    assert len(
        {(c.network, c.method, c.granularity, c.weight_bits, c.act_bits, c.seed) for c in cells}
    ) == len(cells)
    for one in cells:
        runs.check(one.spec)
        assert one.spec["start"] is None
        assert one.weight_bits == {"bwn": 1, "dorefa": 1, "twn": 2, "ttq": 2}.get(
            one.method, one.weight_bits
        )
    # What is added to a network that is there already is nothing, and to others 1 + 3 × 2 a seed.
    added = syq.cells(SymmetricScales(**ALL | {"more_networks": ["resnet20", "vgg_small"]}))
    more = [one for one in added if one.network == "vgg_small"]
    assert len(added) == len(cells) + len(more) and len(more) == 3 * 7
    assert {(c.method, c.act_bits) for c in more} == {("float32", 32), ("syq", 8)}


def test_pretrained_cells_start_from_float32_of_their_seed():
    cells = syq.cells(SymmetricScales(**ALL | {"pretrained": True}))
    for one in cells:
        if one.method == "float32":
            assert one.spec["start"] is None
        else:
            assert one.spec["start"]["method"] == "float32"
            assert one.spec["start"]["seed"] == one.seed
            assert one.spec["start"]["network"] == one.network


def test_the_recipe_is_the_same_for_all_of_a_network():
    recipe = ("dataset", "width", "epochs", "learning_rate", "weight_decay", "batch_size", "images")
    for one in (cells := syq.cells(SymmetricScales(**ALL))):
        assert {n: one.spec[n] for n in recipe} == {n: cells[0].spec[n] for n in recipe}


def test_printed_gradients_are_told_apart(monkeypatch):
    monkeypatch.setattr(runs, "trainings", lambda asked, **_: [toy_log(one) for one in asked])
    found = syq.table(SymmetricScales(**ALL | {"printed_gradient": True}))
    assert set(found.scale_gradient) == {"chain", "printed"}
    chain, printed = syq.accuracies(found), syq.accuracies(found, "printed")
    assert set(printed.index.get_level_values("method")) == {"syq"}
    assert set(printed.index.get_level_values("granularity")) == {"pixel"}
    assert set(printed.index.get_level_values("act_bits")) == {8}
    assert np.allclose(chain.loc[printed.index] - printed, 3)


def test_table_has_the_scalars_and_operations_of_table_5_6(table):
    assert len(table) == len(syq.cells(SymmetricScales(**ALL)))
    rows = table[table.network == "resnet20"].drop_duplicates(["method", "granularity"])
    found = rows.set_index(["method", "granularity"])
    # ResNet-20: 18 convolutions of 3×3 between the first and the last layer.
    assert found.scalars["syq", "pixel"] == 18 * 9 and found.scalars["syq", "row"] == 18 * 3
    assert found.scalars["syq", "layer"] == found.scalars["dorefa", "layer"] == 18
    assert found.scalars["ttq", "asymmetric"] == 36 and found.scalars["float32", ""] == 0
    assert found.scalars["bwn", "channel"] == 6 * 16 + 6 * 32 + 6 * 64
    stages = [(16, 16, 32, 6), (16, 32, 16, 1), (32, 32, 16, 5), (32, 64, 8, 1), (64, 64, 8, 5)]
    of = {
        kind: sum(n * scaling.cost(kind, 3, i, o, s).operations for i, o, s, n in stages)
        for kind in ("layer", "asymmetric")
    }
    assert found.operations["syq", "pixel"] == found.operations["float32", ""] == of["layer"]
    assert found.operations["ttq", "asymmetric"] == of["asymmetric"] > of["layer"]


def test_fully_connected_layers_have_one_scale():
    found = syq.cost("cifar10", "alexnet_small", 1, "pixel")
    assert found["scalars"] == 25 + 9 + 9 + 9 + 1 + 1


def test_granularities_beside_table_5_2(table):
    found = syq.granularities(table, "CIFAR-10")
    assert len(found) == 2 * 2 * 2 * 2  # networks, codes, widths, row and layer
    rows = found.set_index(["network", "weight_bits", "act_bits", "granularity"])
    assert rows.ours["AlexNet-small", 1, 2, "layer"] == pytest.approx(-3)
    assert rows.published["AlexNet-small", 1, 2, "layer"] == -1.4
    assert rows.same_sign["AlexNet-small", 1, 2, "layer"]
    assert not rows.same_sign["AlexNet-small", 2, 2, "row"]  # +0.1 there, −0.1 here
    assert (found.seeds == 3).all() and (found.dataset == "CIFAR-10").all()


def test_methods_beside_tables_5_3_to_5_5(table):
    found = syq.methods(table, "CIFAR-10")
    rows = found.set_index(["network", "method", "weight_bits", "act_bits"])
    mine = rows.loc[("AlexNet", "SYQ", 1, 2)]
    assert mine.published == 55.4 and mine.published_loss == pytest.approx(1.2)
    assert mine.ours == pytest.approx(60 + 3 + 0.05 + 0.5 + 1)
    assert mine.ours_loss == pytest.approx(5 - 3 + 1 + 2)
    assert rows.ours_network["ResNet-50", "SYQ", 2, 8] == "ResNet-20"
    for method in ("QNN", "HWGQ", "FGQ", "INQ"):
        assert found[found.method == method].ours.isna().all()
    assert found[found.act_bits == 32].ours.isna().all()  # not among the widths asked for


def test_claims_follow_the_numbers(table):
    found = syq_claims.claims(table, "cifar10").set_index("claim")
    said = {name: found.loc[statement] for name, statement in names(found).items()}
    assert said["fine_beats_layer_wise"].verdict == "trend"
    assert said["fine_beats_layer_wise"].seeds == "settled"
    assert said["pixel_row_marginal"].verdict == "trend"
    assert said["ternary_8bit_best_all"].verdict == "trend"
    assert said["asymmetric_extra_operations"].verdict == "trend"
    worse = table.copy()
    worse.loc[worse.granularity == "layer", "test_error"] -= 10
    again = syq_claims.claims(worse, "cifar10").set_index("claim")
    known = names(again)
    assert again.loc[known["fine_beats_layer_wise"]].verdict == "differs"
    assert again.loc[known["ternary_8bit_best_all"]].verdict == "differs"  # TWN is layer-wise


def names(found):
    """Statements by the names of the claims."""
    known = syq_claims.reference.claims("faraone2021")
    return {
        name: said
        for name, said in zip(known["claim"], known["statement"], strict=True)
        if said in found.index
    }


def test_claims_of_one_seed_settle_nothing(table):
    found = syq_claims.claims(table[table.seed == 0], "cifar10")
    assert set(found.seeds) == {"one seed: cannot tell", ""}


def test_claims_need_their_trainings(table):
    alone = table[(table.method == "syq") & (table.granularity == "pixel")]
    assert syq_claims.claims(alone, "cifar10").empty


@pytest.mark.parametrize(
    "wrong",
    [
        {"act_bits": [17]},
        {"granularities": ["channel"]},
        {"codes": []},
        {"methods": ["xnor"]},
        {"networks": ["alexnet"]},
        {"width": 0},
        {"seeds": [0, 0]},
        {"images": 10**6},
    ],
)
def test_refused_parameters(wrong):
    with pytest.raises(ValidationError):
        SymmetricScales(**wrong)


def test_smoke_defaults_are_few():
    cells = syq.cells(SymmetricScales())
    assert len(cells) == 10 and {one.network for one in cells} == {"alexnet_small"}
    assert {one.scale_gradient for one in cells} == {"chain", "printed"}
