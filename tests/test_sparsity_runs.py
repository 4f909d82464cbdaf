"""What is stored of the phases: chains, weights that are missing, tables of chapters, refusals."""

import warnings

import numpy as np
import pytest
import torch
from distillation_toy import same
from store_toy import empty_stores

from qbench import data, store, threads
from qbench.sparsity import SparsityError, runs, tables
from qbench.training import error_rate

MLP = {"dataset": "mnist5k", "width": 16, "images": 60, "epochs": 2, "batch_size": 20}
VGG = MLP | {"network": "vgg", "width": 2, "images": 20, "epochs": 1, "eta": [0.6, 0.7]}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    empty_stores(tmp_path, monkeypatch)
    with threads.at_most(1):
        yield


def stored() -> int:
    return sum(1 for _ in store.entries(store.paths.local_results()))


def test_algorithm_1_is_a_chain_of_phases_trained_once():
    phases = runs.algorithm(MLP | {"strength": 0.001}, iterations=2, epochs=1)
    last = runs.studies(phases[-1:])[0]
    assert stored() == 3
    found = tables.best(phases)
    assert found.iteration.tolist() == [0, 1, 2]
    assert found.epochs_in_all.tolist() == [2, 3, 4]
    assert found.sigma.tolist()[1:] == [0.9, 0.9] and np.isnan(found.sigma[0])
    # What was 0 when pruned stays 0, so each iteration has at least as many zeros.
    assert found.pruned[0] == 0
    assert found.pruned[1:].tolist() == pytest.approx(found.zeros[:-1].tolist())
    assert found.zeros.is_monotonic_increasing
    same(runs.studies(phases[-1:])[0], last)
    assert stored() == 3


def test_the_vgg_prunes_with_the_thresholds_of_its_layers():
    first, second = runs.algorithm(VGG)
    assert second["sigma"] == [0.6, 0.7]
    found = tables.layers([first, second])
    assert found.kind.tolist() == (["convolution"] * 6 + ["fully connected"] * 3) * 2
    assert (found.share == 100 * found.nonzeros / found.weights).all()
    row = tables.best([second]).iloc[0]
    assert row.nonzeros == found.nonzeros[9:].sum() and row.weights == found.weights[9:].sum()
    ternary = runs.ternary_of(second)
    assert {name: int((w != 0).sum()) for name, w in ternary.items()} == dict(
        zip(found.layer[9:], found.nonzeros[9:], strict=True)
    )
    assert all(w.dtype == np.int8 and set(np.unique(w)) <= {-1, 0, 1} for w in ternary.values())


def test_missing_weights_are_trained_again():
    first, second = runs.algorithm(MLP)
    table = runs.studies([second])[0]
    before = runs.weights_of(second)
    for file in (store.paths.local_results() / "networks").glob("*.pt"):
        file.unlink()
    after = runs.weights_of(second)
    for part, tensors in before.items():
        assert all(torch.equal(tensors[name], after[part][name]) for name in tensors)
    kept = runs.network_of(second)
    pictures = runs.load("mnist5k", "mlp", 60)
    best = table[table.test_error.notna()].iloc[0]
    assert error_rate(kept.model, pictures.test) == best.test_error


def test_histograms_count_what_is_not_pruned():
    first, second = runs.algorithm(MLP)
    whole = store.run(tables.histogram, study=first, layer="fc2", bins=10)
    assert whole.weights.sum() == 16 * 16
    assert whole.weights[[1, 2, 3]].sum() > 0
    left = store.run(tables.histogram, study=second, layer="fc2", bins=20)
    [row] = tables.layers([first]).query("layer == 'fc2'").to_dict("records")
    assert left.weights.sum() == row["nonzeros"]


def test_curves_have_a_row_an_epoch():
    found = tables.curves([MLP, MLP | {"eta": 1 / 3}])
    assert found.epoch.tolist() == [1, 2, 1, 2]
    assert found.eta.tolist() == [0.9, 0.9, 1 / 3, 1 / 3]


def test_seeds_differ_and_equal_phases_are_one():
    tables_ = runs.studies([MLP, MLP | {"seed": 1}, MLP | {"eta": 0.9, "strength": 0}])
    assert stored() == 2
    assert not tables_[0].equals(tables_[1])
    same(tables_[0], tables_[2])


def test_a_phase_leaves_the_one_after_it_alone():
    other = runs.study(**MLP, seed=1)
    before = torch.get_rng_state()
    runs.study(**MLP, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    same(runs.study(**MLP, seed=1), other)


def test_pruning_what_is_not_zero_is_allowed_and_named():
    spec = runs.algorithm(MLP | {"eta": 0.5}, sigma=0.8)[1]
    said = r"mlp 16 on mnist5k, A32, eta 0.5, lambda 0, sigma 0.8, seed 0: pruning takes [\d,]+ wei"
    with pytest.warns(UserWarning, match=said):
        runs.studies([spec])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        runs.studies([runs.algorithm(MLP | {"eta": 0.5}, sigma=0.4)[1]])


@pytest.mark.filterwarnings("ignore:.*no longer finite")
def test_what_starts_from_a_diverged_training_has_no_errors():
    phases = runs.algorithm(MLP | {"learning_rate": 1e38, "eta": 0.2}, sigma=0.1)
    found = tables.best(phases)
    assert found[["epoch", "valid_error", "test_error"]].isna().all(axis=None)
    assert len(found) == 2


def test_pruning_a_layer_away_is_refused_before_it_is_trained(monkeypatch):
    runs.studies([MLP])
    state = runs.weights_of(MLP)
    state["real"]["fc3"].mul_(0.1)
    monkeypatch.setattr(runs, "weights_of", lambda spec: state)
    monkeypatch.setattr(runs, "train", lambda *a, **b: pytest.fail("it was trained"))
    with pytest.raises(SparsityError, match="sigma = 0.9 would prune all 256 weights of fc3"):
        runs.studies([runs.algorithm(MLP)[1]])


def test_three_hundred_digits_are_enough_to_beat_guessing_by_far():
    spec = MLP | {"width": 64, "images": 300, "epochs": 10}
    assert tables.best(runs.algorithm(spec)).test_error.max() < 50  # guessing: 90


SENTENCES = [
    (MLP | {"network": "mlq"}, "network must be one of mlp, vgg, not 'mlq' (did you mean mlp?)."),
    (MLP | {"width": 0}, "width of mlp must be a whole number from 1 to 8192, not 0."),
    (MLP | {"act_bits": 2}, "act_bits must be 1, for the sign, or 32, for ReLU, not 2."),
    (MLP | {"eta": 1}, "eta must be at least 0 and below 1, where the weights end, not 1.0."),
    (MLP | {"eta": -0.1}, "eta must be at least 0 and below 1, where the weights end, not -0.1."),
    (MLP | {"eta": "0.9"}, "eta must be at least 0 and below 1, where the weights end, not '0.9'."),
    (MLP | {"eta": [0.8, 0.9]},
     "eta of mlp must be one number, as it has no convolutions, not [0.8, 0.9]."),
    (VGG | {"eta": [0.8, 0.9, 0.9]}, "eta of vgg must be two numbers, not [0.8, 0.9, 0.9]."),
    (VGG | {"eta": [0.8, 1]}, "eta must be at least 0 and below 1, where the weights end, "
     "not 1.0."),
    (MLP | {"strength": -1},
     "strength, the thesis' lambda, must be a number of at least 0, not -1.0."),
    (MLP | {"epochs": 0}, "epochs must be a whole number of at least 1, not 0."),
    (MLP | {"seed": -1}, "seed must be a whole number from 0 to 2**31 - 1, not -1."),
    (MLP | {"images": 1}, "images must be a whole number from 2 to 4000, or None for all, not 1."),
    (MLP | {"sigma": 0.9},
     "sigma prunes what an earlier phase has trained: give that phase as start."),
    (MLP | {"start": MLP}, "a phase with a start prunes it first, and sigma is missing."),
    (MLP | {"start": MLP, "sigma": 1},
     "sigma must be at least 0 and below 1, where the weights end, not 1.0."),
    (MLP | {"start": "first", "sigma": 0.9},
     "start must be the parameters of an earlier phase, or None, not 'first'."),
    (MLP | {"start": MLP | {"eta": 0.5}, "sigma": 0.9},
     "a retraining keeps the eta of its start, 0.5, and has 0.9."),
    (MLP | {"start": MLP | {"epochs": 0}, "sigma": 0.9},
     "epochs must be a whole number of at least 1, not 0."),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "sentence"), SENTENCES)
def test_refused_before_any_work(spec, sentence, monkeypatch):
    monkeypatch.setattr(data, "load", lambda *a, **b: pytest.fail("data were loaded"))
    for ask in (lambda: runs.studies([MLP, spec]), lambda: runs.study(**spec)):
        with pytest.raises(SparsityError) as refused:
            ask()
        assert str(refused.value) == sentence


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (lambda: runs.studies([MLP | {"epoch": 3}]), "a phase has the parameters of `study`: .*ep"),
        (lambda: runs.algorithm(MLP, iterations=0), "iterations must be a whole number of at leas"),
        (lambda: tables.histogram(study=MLP, layer="fc5"), "layer must be one of fc1, .*not 'fc5'"),
        (lambda: tables.histogram(study=MLP, layer="fc1", bins=1), "bins must be a whole number o"),
    ],
)
def test_other_refusals(ask, sentence):
    with pytest.raises(SparsityError, match=sentence):
        ask()
