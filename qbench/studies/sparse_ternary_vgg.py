"""Chapter 10: the claims of Faraone 2021, section 3.3.2, about the VGG, as predicates on ours."""

import pandas as pd

from qbench import reference
from qbench.parameters import SparseTernary

from .sparse_ternary import UNIFORM, VGG_SPARSE, described_vgg
from .sparse_ternary_bounds import FARAONE
from .sparse_ternary_claims import SparseJudge, against_dense, price, sparsity_is_limited
from .sparse_ternary_tables import errors
from .verdicts import Verdict

FIRST, LAST = ("conv1", "conv2"), ("conv6", "fc1")  # said to be most and least sensitive
PRUNED = ("sparse", *VGG_SPARSE)
DENSE = [("ternary", UNIFORM, UNIFORM), ("long ternary", UNIFORM, UNIFORM)]


def claims(
    table: pd.DataFrame, sizes: pd.DataFrame, layers: pd.DataFrame, p: SparseTernary
) -> pd.DataFrame:
    """The claims about CIFAR-10, a row each; see `Judge`. layers: of `sparse_ternary.layers`."""
    judge = SparseJudge(table, f"ours: {described_vgg(p)}")
    _threshold_claims(judge)
    _layer_claims(judge, layers)
    by = {"binary": ("binary", 0.0, 0.0), "ternary": DENSE[0], "sparse": PRUNED}
    if judge.has(*by.values()):
        times = against_dense(judge, sizes, by)
        judge.say("vgg_better_than_references", *_gains(judge, by, times))
    return judge.judged()


def lessons(table: pd.DataFrame, layers: pd.DataFrame) -> str:
    """What the VGG adds to the lessons, as a Markdown list."""
    if PRUNED not in errors(table).index:
        return "* The sparse VGG diverged, and nothing can be said of it."
    lines = [line.replace("* **", "* **VGG: ", 1) for line in price(table, PRUNED, DENSE)]
    shares = _shares(layers).groupby("layer", sort=False)["share"].mean().sort_values()
    few, many = shares.index[0], shares.index[-1]
    lines.append(
        f"* **VGG: which layers need their weights?** With one threshold for all, {many} keeps "
        f"most of them, {shares[many]:.1f} % on average, and {few} fewest, {shares[few]:.1f} %."
    )
    return "\n".join(lines)


def _threshold_claims(judge: SparseJudge) -> None:
    sparsity_is_limited(judge)
    ours = judge.ours
    binary = ("binary", 0.0, 0.0)
    others = sorted((key for key in ours.index if key[0] in ("ternary", "first")), key=_thresholds)
    if others and judge.has(binary):
        gains = {key: judge.gain(binary, key) for key in others}
        best = max(gains, key=lambda key: gains[key].mean())
        words = ", ".join(
            f"{one.mean():+z.2f} at η = {key[1]:.2g} and {key[2]:.2g}" for key, one in gains.items()
        )
        words = f"points of error below the binary network: {words}"
        judge.say("threshold_improves_accuracy", judge.some(gains.values()), words)
        judge.number("threshold_error_reduction", gains[best].mean(), judge.why)
    neither, connected, both = (("first", *pair) for pair in ((0.8, 0.8), (0.8, 0.9), (0.9, 0.9)))
    if judge.has(neither, connected, both):
        lost = judge.gain(both, connected), judge.gain(connected, neither)
        words = (
            "from 0.8 to 0.9, points of error: {:+z.2f} in the convolutions, {:+z.2f} in the fully "
            "connected layers"
        ).format(*(one.mean() for one in lost))
        # A difference of differences, whose middle network counts twice: 1 + 4 + 1 variances
        less = judge.every([lost[0] - lost[1]], spread=3**0.5 * judge.spread)
        judge.say("conv_less_robust_to_threshold", less, words)


def _layer_claims(judge: SparseJudge, layers: pd.DataFrame) -> None:
    every = layers[layers["eta"] > 0]
    kept = every[every["layer"].isin(FIRST)]["share"].mean()
    judge.number("first_conv_nonzeros", kept, judge.why)
    alike = _shares(layers)
    of = alike.pivot_table(index="layer", columns="seed", values="share")
    others = of.drop([*FIRST, *LAST])
    words = "nonzeros with one threshold for all: " + ", ".join(
        f"{name} {share:.1f} %" for name, share in of.mean(axis=1).sort_values().items()
    )
    rest = pd.concat([others, of.loc[list(LAST)]])
    most = judge.every([of.loc[list(FIRST)].min() - rest.max()], spread=0.0)
    judge.say("first_conv_most_sensitive", most, words)
    rest = pd.concat([others, of.loc[list(FIRST)]])
    least = judge.every([rest.min() - of.loc[list(LAST)].max()], spread=0.0)
    judge.say("last_conv_first_fc_least_sensitive", least, words)
    ranges = alike.groupby(["eta", "seed"])["share"].agg(lambda one: one.max() - one.min())
    low, high = alike["eta"].min(), alike["eta"].max()
    if low < high:
        wider = ranges.loc[high] - ranges.loc[low]
        words = ", ".join(f"{ranges.loc[eta].mean():.1f} at η = {eta:.2g}" for eta in (low, high))
        words = f"points of nonzeros from the sparsest layer to the densest: {words}"
        judge.say("higher_threshold_separates_layers", judge.every([wider], spread=0.0), words)


def _thresholds(key: tuple) -> tuple[float, float]:
    return key[1], key[2]


def _shares(layers: pd.DataFrame) -> pd.DataFrame:
    """The ternary networks whose layers have one threshold: only these layers compare."""
    return layers[(layers["eta"] > 0) & (layers["eta"] == layers["eta_conv"])]


def _gains(judge: SparseJudge, by: dict, times: dict[str, pd.Series]) -> tuple[Verdict, str]:
    """Whether the sparse network is better or smaller than either dense one."""
    either = []
    for role in ("binary", "ternary"):
        better = judge.every([judge.gain(by[role], by["sparse"])])
        smaller = judge.every([times[role] - 1], spread=0.0)
        either.append(~(~better & ~smaller))
    words = ", ".join(
        f"{judge.gain(by['sparse'], by[role]).mean():+z.2f} points of error beside {role}, which "
        f"takes {times[role].mean():.2f} times as many bytes"
        for role in ("binary", "ternary")
    )
    return either[0] & either[1], words


#: Claims of chapter 3 that no run here judges, and why.
WITHOUT = {
    "what its method is": (
        "training_stages",
        "zero_share_of_range_max",
        "high_threshold",
        "ternary_storage_bits",
        "pruning_iterations",
        "pruning_iterations_float_mlp",
        "mlp_hidden_layers",
        "mlp_neurons_binary",
        "mlp_neurons_float",
        "mnist_epochs",
        "best_validation_epoch_kept",
        "mlp_eta",
        "vgg_eta_convolution",
        "vgg_eta_fully_connected",
        "throughputs_are_peaks",
    ),
    "the same as the compression in section 3.1": ("size_reduction_low", "size_reduction_high"),
    "history, or another network than ours": (
        "similar_accuracy_to_venkatesh",
        "first_method_with_hardware_cost",
    ),
    "would need other machines than the one this ran on": (
        "compression_is_speedup",
        "sequential_gain_from_sparsity",
        "iteration_takes_days",
    ),
    "would need each layer pruned by itself": ("zeros_show_layer_sensitivity",),
    "would need a Huffman decoder, and only the run-length one was built": (
        "huffman_decoder_more_complex",
    ),
}


def not_judged(judged: pd.DataFrame, p: SparseTernary) -> pd.DataFrame:
    """Claims of chapter 3 without a row in `judged`: `where`, `claim` and `why`."""
    every = reference.claims(FARAONE)
    every = every[every["where"].str.match(r"Chapter 3|Section 3\.")]
    missing = every[~every["statement"].isin(judged["claim"])]
    why = [_reason(name, p) for name in missing["claim"]]
    return pd.DataFrame({"where": missing["where"], "claim": missing["statement"], "why": why})


def _reason(name: str, p: SparseTernary) -> str:
    for reason, names in WITHOUT.items():
        if name in names:
            return reason
    if name.startswith("mlp_"):
        return f"is of the other activations: act_bits is {p.act_bits} here"
    if not p.vgg:
        return "needs the VGG, or networks that these parameters do not train"
    return "needs networks that these parameters do not train"
