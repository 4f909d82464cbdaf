"""Chapter 10: what it asks for, its tables, and what it makes of the thesis' own numbers."""

import numpy as np
import pandas as pd
import pytest

from qbench import chapters, parameters, reference
from qbench.hardware.sparse_accelerator import Accelerator
from qbench.sparsity import runs
from qbench.studies import sparse_ternary as study
from qbench.studies import sparse_ternary_bounds as bounds
from qbench.studies import sparse_ternary_claims as judged
from qbench.studies import sparse_ternary_tables as shown

NAME = "10_sparse_ternary"
UNIFORM = study.UNIFORM
ENTROPIES = ("symbol_entropy", "iid_entropy", "zlib_2bit", "zstd_2bit")


def asked(profile: str, **more):
    return parameters.check(NAME, **(chapters.parameters(chapters.find("10"), profile, {}) | more))


def made(networks, seeds=(0, 1, 2), scatter=0.0, act_bits=1) -> pd.DataFrame:
    """A table as `study.table` gives it: (role, η, σ) → (test error, zeros, pruned) in %."""
    numbers = np.random.default_rng(0)
    rows = []
    for (role, eta, sigma), (error, zeros, pruned) in networks.items():
        for seed in seeds:
            said = error + scatter * numbers.normal()
            rows.append(
                {
                    "role": role,
                    "eta": eta,
                    "eta_conv": np.nan,
                    "sigma": sigma,
                    "seed": seed,
                    "width": 4096,
                    "act_bits": act_bits,
                    "epochs_in_all": 3,
                    "valid_error": said,
                    "test_error": said,
                    "zeros": zeros,
                    "pruned": pruned,
                }
            )
    return pd.DataFrame(rows)


def as_printed(**how) -> pd.DataFrame:
    """Tables 3.1 and 3.2, binary activations, as if they were ours; thresholds alone made up."""
    cells = shown.published_grid().pivot(index=["eta", "sigma"], columns="quantity", values="value")
    networks = {
        ("pruned", *pair): (row["error"], 100 - row["nonzeros"], row["pruned"])
        for pair, row in cells.iterrows()
    }
    networks |= {("first", eta, np.nan): (0.95, 100 * eta - 5, 0) for eta in (0.5, 0.7, 0.9)}
    networks |= {
        ("binary", 0.0, np.nan): (0.96, 0, 0),
        ("ternary", UNIFORM, np.nan): (0.92, 34, 0),
        ("l2", 0.9, np.nan): (0.95, 95, 0),
        ("sparse", 0.9, 0.9): (0.93, 97.6, 95),
    }
    return made(networks, **how)


def sizes(seeds=(0, 1, 2), rle=0.83, huffman=1.59) -> pd.DataFrame:
    """Megabytes as Table 3.2 prints them for binary activations."""
    took = {
        "binary": {"ternary": 9.12, "binary": 4.56},
        "ternary": {"ternary": 9.12, "binary": 4.56},
        "sparse": {"ternary": 9.12, "binary": 4.56, "RLE": rle, "HC": huffman},
    }
    rows = [
        {"role": role, "seed": seed, "encoding": name, "megabytes": value}
        for role, each in took.items()
        for seed in seeds
        for name, value in ({"RLE": 5.0, "HC": 5.0} | dict.fromkeys(ENTROPIES, 0.5) | each).items()
    ]
    return pd.DataFrame(rows)


def curves(seeds=(0, 1, 2)) -> pd.DataFrame:
    """As the thesis describes Figure 3.1: 0.9 begins worse and ends alike."""
    errors = {UNIFORM: [5.0, 2.0, 1.0], 0.9: [20.0, 6.0, 1.02]}
    rows = [
        {"eta": eta, "seed": seed, "epoch": epoch, "valid_error": error}
        for eta, values in errors.items()
        for seed in seeds
        for epoch, error in enumerate(values, 1)
    ]
    return pd.DataFrame(rows)


def histograms(seeds=(0, 1, 2), bins=40) -> pd.DataFrame:
    """As Figure 3.2: with L2 there is a clump at 0.9 and less beyond."""
    edges = np.linspace(-1, 1, bins + 1)
    middle = np.abs((edges[1:] + edges[:-1]) / 2)
    parts = []
    for training in ("with L2", "without"):
        weights = np.full(bins, 100.0)
        if training == "with L2":
            weights[np.abs(middle - 0.9) < 0.05] = 400
            weights[middle > 0.95] = 20
        share = 100 * weights / weights.sum()
        frame = pd.DataFrame({"low": edges[:-1], "high": edges[1:], "share": share})
        parts += [frame.assign(training=training, seed=seed) for seed in seeds]
    return pd.concat(parts, ignore_index=True)


def said(table, sizes_=None, column="verdict", seeds=(0, 1, 2)) -> dict[str, str]:
    """Verdicts by the short names of claims."""
    took = sizes(seeds) if sizes_ is None else sizes_
    p = asked("paper", seeds=list(seeds))
    found = judged.claims(table, took, curves(seeds), histograms(seeds), p).set_index("claim")
    statements = reference.claims(bounds.FARAONE).set_index("claim")["statement"]
    return {name: found[column].get(text) for name, text in statements.items()}


@pytest.mark.parametrize("profile", ["smoke", "laptop", "paper"])
def test_every_profile_asks_for_phases_that_can_be(profile):
    p = asked(profile)
    for cell in study.cells(p) + study.vgg_cells(p):
        runs.check(cell.spec)


def test_the_laptop_has_all_cells_of_table_3_1_with_three_seeds():
    p = asked("laptop")
    printed = shown.published_grid()[["eta", "sigma"]].drop_duplicates()
    assert set(study.thresholds(p)) == set(map(tuple, printed.to_numpy()))
    cells = study.cells(p)
    assert sum(cell.role == "pruned" for cell in cells) == 27
    assert {cell.spec["width"] for cell in cells} == {1024}
    assert {cell.spec["act_bits"] for cell in cells} == {32}


def test_the_sparse_network_is_pruned_at_its_threshold_as_often_as_asked():
    of = {cell.role: cell.spec for cell in study.cells(asked("laptop", seeds=[4]))}
    last, once, first = of["sparse"], of["iteration"], of["l2"]
    assert last["start"] == once and once["start"] == first and first["start"] is None
    assert last["sigma"] == once["sigma"] == last["eta"] == 0.9
    assert last["strength"] == first["strength"] > 0 == of["ternary"]["strength"]
    # As many epochs as the sparse network has in all
    assert of["long ternary"]["epochs"] == 3 * of["ternary"]["epochs"]
    assert {spec["seed"] for spec in of.values()} == {4}


def test_the_paper_profile_has_the_vgg_with_the_thresholds_of_its_layers():
    of = {cell.role: cell.spec for cell in study.vgg_cells(asked("paper", seeds=[0]))}
    assert of["sparse"]["eta"] == of["sparse"]["sigma"] == [0.8, 0.9]
    assert of["binary"]["eta"] == [0.0, 0.0]
    assert (of["sparse"]["dataset"], of["sparse"]["width"]) == ("cifar10", 128)
    assert study.vgg_cells(asked("smoke")) == []


def test_the_laptop_has_a_narrow_vgg_with_every_phase_of_table_3_3():
    p = asked("laptop")
    cells = study.vgg_cells(p)
    assert {cell.spec["width"] for cell in cells} == {16}
    assert {cell.seed for cell in cells} == {0, 1, 2}
    of = {cell.role: cell.spec for cell in cells}
    assert set(of) == {"binary", "ternary", "long ternary", "first", "l2", "sparse"}
    assert of["sparse"]["start"] == of["l2"] and of["l2"]["strength"] == p.vgg_strength > p.strength
    assert of["long ternary"]["epochs"] == 2 * of["ternary"]["epochs"]
    # One kind of layer at a time
    plain = [cell.spec["eta"] for cell in cells if cell.role == "first"]
    assert all(pair in plain for pair in ([0.8, 0.8], [0.8, 0.9], [0.9, 0.9]))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"pruned": ["0.9"]}, "pruned must be a list of .*two thresholds"),
        ({"pruned": "0.9/1"}, "pruned must be a list of .*two thresholds"),
        ({"pruned": "0.9/0.9,0.90/.9"}, "pruned must be a list of one or more without repeats"),
        ({"eta": 1}, "eta must be a number of at least 0 and below 1"),
        ({"strength": -1e-5}, "strength must be a number of at least 0"),
        ({"iterations": 0}, "iterations must be a whole number of at least 1 and at most 4"),
        ({"epochs": 0}, "epochs must be a whole number of at least 1"),
        ({"act_bits": 2}, "act_bits must be one of 1, 32"),
        ({"width": 9000}, "width must be a whole number of at least 1 and at most 8192"),
        ({"vgg_images": 1}, "vgg_images must be a whole number from 2 to 60000, or None"),
    ],
)
def test_refused_parameters(values, sentence):
    with pytest.raises(parameters.ParameterError, match=sentence):
        parameters.check(NAME, **values)


def test_the_thesis_agrees_with_itself_but_for_its_errata():
    found = shown.beside_grid(as_printed(scatter=0.0))
    assert len(found) == 27
    assert set(found.verdict) == {"exact"}
    off = as_printed()
    off.loc[off["eta"] == 0.5, "pruned"] = 60.0
    off.loc[off["eta"] == 0.7, "test_error"] += 1
    verdicts = shown.beside_grid(off).set_index(["eta", "sigma", "quantity"])["verdict"]
    assert verdicts[0.5, 0.5, "pruned"] == "erratum"
    assert verdicts[0.5, 0.9, "pruned"] == "differs"
    assert verdicts[0.7, 0.7, "error"] == "differs"
    assert verdicts[0.9, 0.9, "error"] == "exact"


def test_the_summary_and_what_is_compared_with_table_3_2():
    table = as_printed()
    summary = shown.summary(table, sizes())
    assert summary["role"].tolist() == ["binary", "ternary", "l2", "sparse"]
    assert summary.set_index("role")["dense"].to_dict() == {
        "binary": 4.56,
        "ternary": 9.12,
        "l2": pytest.approx(np.nan, nan_ok=True),
        "sparse": 9.12,
    }
    found = shown.beside_summary(summary, table, "table_3_2", 4096)
    of = found.set_index(["method", "quantity", "encoding"])["verdict"]
    assert of["ternary", "zeros", ""] == "differs"  # 34 % is the printed one of the other network
    assert of["sparse_tnn", "zeros", ""] == of["binary", "size", "none"] == "exact"
    narrow = shown.beside_summary(summary, table, "table_3_2", 1024)
    assert "size" not in set(narrow["quantity"])


def test_claims_on_the_thesis_own_numbers():
    found = said(as_printed())
    for name in (
        "higher_threshold_more_zeros",
        "high_threshold_starts_worse",
        "high_threshold_slower",
        "high_threshold_same_final_error",
        "l2_more_zeros",
        "l2_shrinks_extreme_weights",
        "weights_gather_at_threshold",
        "equal_thresholds_best_sparsity",
        "pruning_nonzeros_hurts",
        "pruning_below_keeps_accuracy",
        "sparse_tnn_less_memory",
        "compression_low",
        "compression_high",
        "mlp_binary_act_better_than_binary",
        "mlp_binary_act_same_as_ternary",
        "effective_operations_beyond_binary",
        "zero_weight_worth_more_float",
    ):
        assert found[name] == "trend", name
    assert found["prunable_at_high_threshold"] == "exact"
    assert found["mlp_binary_act_sparsity"] == "exact"
    # What the errata say of the thesis
    assert found["huffman_smaller_than_rle"] == "differs"
    assert found["sparse_tnn_improves_accuracy"] == "differs"
    assert found["float_needs_lower_nonzero_share"] == "differs"
    swapped = said(as_printed(), sizes(rle=1.59, huffman=0.83))
    assert swapped["huffman_smaller_than_rle"] == "trend"


def test_claims_are_settled_where_seeds_leave_no_doubt():
    exact = said(as_printed(scatter=1e-4), column="seeds")
    noisy = said(as_printed(scatter=0.3), column="seeds")
    alone = said(as_printed(seeds=(0,)), column="seeds", seeds=(0,))
    assert exact["pruning_nonzeros_hurts"] == "settled"
    assert noisy["mlp_binary_act_better_than_binary"] == "not settled"
    assert alone["pruning_nonzeros_hurts"] == "one seed: cannot tell"


@pytest.mark.parametrize(
    ("zeros", "error", "answer"),
    [(97.6, 0.93, "Yes"), (97.6, 1.5, "No"), (80.0, 0.93, "No")],
)
def test_the_lessons_answer_whether_nine_zeros_in_ten_cost_little(zeros, error, answer):
    table = as_printed(scatter=1e-4)
    row = table["role"] == "sparse"
    table.loc[row, ["zeros", "test_error"]] = zeros, error
    text = judged.lessons(table, sizes(), asked("paper"))
    assert f"dense ternary (η = 1/3)?** {answer}: {zeros:.1f} % zeros" in text


def test_a_training_that_diverged_is_named_and_the_rest_goes_on():
    table = as_printed(scatter=1e-3)
    gone = (table["role"] == "sparse") & (table["seed"] == 1)
    table.loc[gone, ["test_error", "valid_error"]] = np.nan
    text = shown.diverged([table])
    assert f"1 of the {len(table)} trainings diverged" in text and "seed 1" in text
    assert said(table)["compression_low"] == "trend"
    every = as_printed()
    every.loc[every["role"] == "sparse", "test_error"] = np.nan
    assert "diverged" in judged.lessons(every, sizes(), asked("paper"))
    assert said(every)["compression_low"] is None


def test_break_even_is_the_first_reuse_that_is_faster():
    found = bounds.break_even(bounds.gammas())
    assert len(found) == 4
    for row in found.itertuples():
        one = Accelerator(row.activations)
        assert one.speedup(row.gamma, row.reuse) > 1
        assert row.reuse == 1 or one.speedup(row.gamma, row.reuse - 1) <= 1
        assert row.limit > one.tops(row.gamma, 10**6)


def test_bounds_tell_the_printed_sizes_apart():
    found = bounds.bounds()
    assert (found["run-length"] > found["entropy"]).all()
    assert (found["second"] > found["first"]).all()


def test_weights_are_counted_as_printed_but_for_the_large_perceptron():
    found = bounds.networks()
    near = (found["weights"] / 1e6 - found["printed (millions)"]).abs() < 0.005
    assert near.tolist() == [False, True, True]
