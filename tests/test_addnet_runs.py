"""Trainings by the methods of chapter 6: codebooks × scales, one recipe, starts, refusals."""

import numpy as np
import pytest
import torch
from distillation_toy import same
from small_runs_toy import few
from store_toy import empty_stores
from training_toy import Stop

from qbench import checkpoints, lineages, store, threads
from qbench import training as loops
from qbench.addnet import AddnetError, codebooks, runs
from qbench.addnet.networks import Rounding
from qbench.quantizers.codebook import Codebook, uniform
from qbench.quantizers.networks import Quantised

TOY = {
    "dataset": "mnist5k",
    "network": "perceptron",
    "width": 0.01,
    "images": 40,
    "epochs": 2,
    "batch_size": 20,
}
FLOAT = TOY | {"method": "float32"}
METHODS = {
    "float32": {"method": "float32"},
    "float32-a4": {"method": "float32", "act_bits": 4},
    "2-add": {"codebook": "2-Add"},
    "4-add-a2-codes": {"codebook": "4-Add", "act_bits": 2, "gradient": "codes"},
    "own": {"codebook": [-5, -1, 0, 1, 5], "outer": "3-Add", "act_bits": 32},
    "uniform-4": {"method": "uniform", "weight_bits": 4},
    "ternary": {"method": "ternary"},
    "binary": {"method": "binary"},
}
LAYERS = ["fc1", "fc2", "fc3", "fc4"]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    empty_stores(tmp_path, monkeypatch)
    monkeypatch.setattr(runs, "load", lambda dataset, images: few())
    with threads.at_most(1):
        yield tmp_path


def file_of(spec):
    return lineages.weights(runs.training, runs.complete(spec))


@pytest.mark.parametrize("how", METHODS.values(), ids=METHODS)
def test_every_training_resumes_to_the_same_numbers(home, monkeypatch, how):
    """With a start, as Algorithm 5 has it."""
    spec = TOY | how | {"start": FLOAT}
    whole = runs.training(**spec)
    assert len(whole) == TOY["epochs"] and whole.train_loss.notna().all()
    assert whole.test_error.isna().tolist() == [True, False]
    state = checkpoints.load(file_of(spec))
    real, done = loops._train_epoch, iter(range(9))

    def stopping(*given):
        if next(done):
            raise Stop
        return real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(loops, "_train_epoch", stopping)
        with pytest.raises(Stop):
            runs.training(**spec, checkpoint=home / "work")
    file_of(spec).unlink()
    torch.manual_seed(99)  # what the caller did before has no say
    same(runs.training(**spec, checkpoint=home / "work"), whole)
    again = checkpoints.load(file_of(spec))
    assert all(torch.equal(tensor, again[name]) for name, tensor in state.items())


def test_what_is_only_rounded_has_not_been_trained():
    last = runs.training(**FLOAT)[["valid_error", "test_error"]].tail(1)
    same(runs.rounded(training=FLOAT | {"start": FLOAT}), last.reset_index(drop=True))
    spec = TOY | {"codebook": [-1, 0, 1], "outer": [-1, 0, 1], "start": FLOAT}
    found = runs.rounded(training=spec)
    assert found.notna().all(axis=None) and not file_of(spec).exists()
    with pytest.raises(AddnetError, match="must start from a float32 training, not from new wei"):
        runs.rounded(training=TOY | {"codebook": "2-Add"})


@pytest.mark.parametrize("how", METHODS.values(), ids=METHODS)
def test_weights_are_coefficients_times_scales_afterwards(how):
    full = runs.complete(TOY | how)
    model = runs.network_of(full)
    parts = {n: m for n, m in model.named_modules() if isinstance(m, Quantised)}
    if full["method"] == "float32":
        assert [*parts] == ([] if full["act_bits"] == 32 else LAYERS[1:])
        assert all(isinstance(one.weights, torch.nn.Identity) for one in parts.values())
        return
    assert [*parts] == LAYERS
    inner = {
        "addnet": lambda: codebooks.read(full["codebook"]),
        "uniform": lambda: uniform(full["weight_bits"]),
        "ternary": lambda: (-1, 0, 1),
        "binary": lambda: (-1, 1),
    }[full["method"]]()
    for name, part in parts.items():
        ends = name in (LAYERS[0], LAYERS[-1])
        allowed = codebooks.read(full["outer"]) if ends else inner
        quantiser, weight = part.weights, part.layer.weight
        value = quantiser(weight).detach().flatten()
        codes = value / (quantiser.unit if isinstance(quantiser, Codebook) else value.abs().max())
        assert torch.allclose(codes, codes.round(), rtol=0, atol=1e-3)
        assert set(codes.round().int().tolist()) <= set(allowed)
        assert len(set(codes.round().int().tolist())) > 1


def test_the_image_stays_as_it_is_and_activations_have_their_width():
    model = runs.network_of(TOY | METHODS["4-add-a2-codes"])
    assert isinstance(model.fc1.acts, torch.nn.Identity)
    assert [model.get_submodule(name).acts.bits for name in LAYERS[1:]] == [2, 2, 2]
    assert {model.get_submodule(name).weights.gradient for name in LAYERS} == {"codes"}


def test_first_and_last_layer_have_the_4_add_whatever_is_between():
    four = codebooks.published()["4-Add"]
    for how in ("2-add", "uniform-4", "ternary", "binary"):
        model = runs.network_of(TOY | METHODS[how] | {"epochs": 1})
        assert model.fc1.weights.coefficients == model.fc4.weights.coefficients == four
        inner = model.fc2.weights
        assert not isinstance(inner, Codebook) or inner.coefficients != four


def test_all_methods_share_one_recipe(monkeypatch):
    given = []
    real = loops.fit
    monkeypatch.setattr(
        loops, "fit", lambda model, images, **how: given.append(how) or real(model, images, **how)
    )
    for how in METHODS.values():
        runs.training(**TOY | {"epochs": 1}, **how)
    for one in given:
        assert one.pop("title")
        assert one == given[0]
    assert len(given) == len(METHODS)


def test_weights_and_scales_start_from_the_float32_network(monkeypatch):
    start = runs.weights_of(FLOAT)
    seen = []

    def fit(model, *_, **__):
        seen.append({name: p.detach().clone() for name, p in model.named_parameters()})
        raise Stop

    monkeypatch.setattr(loops, "fit", fit)
    with pytest.raises(Stop):
        runs.training(**TOY, codebook="2-Add", start=FLOAT)
    for name in LAYERS:
        weight = start[f"{name}.weight"]
        assert torch.equal(seen[0][f"{name}.layer.weight"], weight)
        assert seen[0][f"{name}.weights.scale"].item() == weight.abs().max().item()


def test_a_set_is_one_training_however_it_is_written():
    two = codebooks.published()["2-Add"]
    asked = [TOY | {"codebook": one} for one in (two, list(two), np.array(two), "2-Add", None)]
    asked += [TOY | {"codebook": " ".join(map(str, two)), "outer": codebooks.published()["4-Add"]}]
    asked += [TOY | {"fraction_bits": 6, "act_bits": 8, "weight_bits": None, "width": 0.01}]
    keys = {store.key(store.spec(runs.training, **runs.complete(one))) for one in asked}
    assert len(keys) == 1
    own = runs.complete(TOY | {"codebook": np.array([-3, 0, 7])})["codebook"]
    assert own == "-3 0 7" and codebooks.read(own) == (-3, 0, 7)


def test_published_sets_have_as_many_coefficients_as_the_thesis_counts():
    sizes = {name: len(found) for name, found in codebooks.published().items()}
    assert sizes == {"2-Add": 15, "3-Add": 59, "4-Add": 207, "unoptimised": 63}
    for found in codebooks.published().values():
        assert found == tuple(sorted(-one for one in found))


def test_starts_are_trained_once_and_stored(home):
    asked = [TOY | METHODS[name] | {"start": FLOAT} for name in ("2-add", "binary")]
    tables = runs.trainings([*asked, FLOAT], at_once=1)
    assert len(tables) == 3
    assert sum(1 for _ in store.entries(home / "local")) == 3


def test_histograms_hold_all_weights_in_units_of_the_range():
    spec = runs.complete(FLOAT)
    state = runs.weights_of(spec)
    found = store.run(runs.histogram, training=spec)
    assert found.layer.drop_duplicates().tolist() == LAYERS
    assert found[found.outer].layer.drop_duplicates().tolist() == ["fc1", "fc4"]
    whole = store.run(runs.histogram, training=spec, bins=7, of="network")
    largest = max(state[f"{name}.weight"].abs().max().item() for name in LAYERS)
    for name in LAYERS:
        weight = state[f"{name}.weight"].double().flatten()
        rows = found[found.layer == name]
        assert rows["count"].sum() == weight.numel() and len(rows) == 31
        assert rows.low.iloc[0] == -1 and rows.high.iloc[-1] == 1
        most = weight.abs().max()
        for row in rows[rows.bin < 30].to_dict("records"):
            inside = (weight / most >= row["low"]) & (weight / most < row["high"])
            assert row["count"] == int(inside.sum())
        shares = whole[whole.layer == name]["count"]
        assert shares.sum() == weight.numel()
        assert (shares.iloc[[0, -1]].sum() > 0) == (float(most) / largest > 5 / 7)
    counts = runs.pooled(found)
    assert counts.sum() == sum(state[f"{name}.weight"].numel() for name in LAYERS[1:-1])
    assert runs.pooled(found, outer=True).sum() == found["count"].sum()


REFUSED = [
    ({"method": "syq"}, "method must be one of float32, addnet, uniform, ternary, binary, not"),
    ({"method": "uniform", "weight_bits": 1}, "weight_bits must be a whole number from 2 to 8"),
    ({"method": "uniform", "weight_bits": 9}, "weight_bits must be a whole number from 2 to 8"),
    ({"weight_bits": 4}, "weight_bits is for uniform: for addnet it must be None, not 4"),
    ({"method": "binary", "codebook": "2-Add"}, "codebook is for addnet: for binary it must be"),
    ({"method": "float32", "outer": "4-Add"}, "outer must be None for float32"),
    ({"codebook": "5-Add"}, "codebook must be 2-Add, 3-Add, 4-Add, unoptimised or whole numbers"),
    ({"codebook": [-1, 1]}, "a codebook must include 0, and the coefficient nearest to it is"),
    ({"codebook": [0]}, "a codebook must have at least 2 coefficients, not 1"),
    ({"codebook": "1 0 2"}, "a codebook must be in ascending order"),
    ({"outer": [-2, 2]}, "a codebook must include 0"),
    ({"act_bits": 17}, "act_bits must be a whole number from 1 to 16, or 32"),
    ({"act_bits": 4, "fraction_bits": 40}, "fraction_bits cannot be 40"),
    ({"act_bits": 32, "fraction_bits": 2}, "fraction_bits must be None where activations are"),
    ({"gradient": "none"}, "gradient must be one of clipped, codes, not 'none'"),
    ({"network": "alexnet"}, "network must be one of alexnet_small"),
    ({"width": 0}, "width must be a number above 0 and at most 4, not 0"),
    ({"epochs": 0}, "epochs must be a whole number of at least 1, not 0"),
    ({"start": TOY}, "start must be a training in float32"),
    ({"start": FLOAT | {"width": 1}}, "a training keeps the width of its start"),
    ({"start": FLOAT | {"epochs": 0}}, "epochs must be a whole number of at least 1, not 0"),
    ({"color": "red"}, "a training has the parameters of `training`"),
]


@pytest.mark.parametrize(("wrong", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_refused_before_any_work(monkeypatch, wrong, words):
    monkeypatch.setattr(runs, "load", lambda *_: pytest.fail("work began"))
    monkeypatch.setattr(runs, "_new", lambda *_: pytest.fail("work began"))
    with pytest.raises(AddnetError) as caught:
        runs.trainings([TOY | wrong])
    said = str(caught.value)
    assert words in said and "\n" not in said and said.endswith(".")


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        ({"training": TOY}, "weights must be those of a float32 training, not of addnet with"),
        ({"training": FLOAT, "bins": 1}, "bins must be a whole number from 2 to 1023, not 1"),
        ({"training": FLOAT, "of": "filter"}, "of must be one of layer, network, not 'filter'"),
    ],
)
def test_refused_histograms(monkeypatch, ask, words):
    monkeypatch.setattr(runs, "network_of", lambda *_: pytest.fail("work began"))
    with pytest.raises(AddnetError, match=words) as caught:
        runs.histogram(**ask)
    assert str(caught.value).endswith(".")


def test_bits_in_memory_are_those_of_table_6_9():
    table = codebooks.reference.load("faraone2021", "table_6_9")
    for row in table[["method", "rccm", "weight_bits"]].drop_duplicates().to_dict("records"):
        how = {
            "AddNet": {"method": "addnet", "codebook": row["rccm"]},
            "fixed_point": {"method": "uniform", "weight_bits": row["weight_bits"]},
            "floating_point": {"method": "float32"},
        }.get(row["method"], {"method": row["method"]})
        assert Rounding(**how).stored_bits == row["weight_bits"]
