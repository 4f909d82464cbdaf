"""Chapter 02: what Stewart et al. and Ducasse et al. claim about bit widths, as predicates.

Each claim is a few numbers of ours, one a seed, and the side of a threshold that they must lie on.
"Noticeable" is a difference of `NOTICEABLE` points of test error.
"""

import pandas as pd

from qbench.studies.bit_width_sweep import (
    DUCASSE,
    FLOAT,
    NOTICEABLE,
    STEWART,
    Errors,
    NotRun,
    Rows,
    chance,
    enough,
    judge,
    number,
)

EARLY, LATE = (10, 20), (50, 100)
FEW, MANY = (1, 2, 3), (4, 5, 6, 7, 8)
REPORTED = (10, 20, 30, 40, 50, 100)
NETWORK = "Ducasse's network and quantisers; Stewart's had FINN's quantisers and an unstated width"
DIGITS = ("mnist", "mnist5k")


def claims(runs: pd.DataFrame) -> pd.DataFrame:
    """A row for every claim that `runs` (of `bit_width_sweep.run`) allow to judge.

    Columns `where`, `claim`, `ours`, `verdict`, `why`, `seeds`.
    """
    errors = Errors(runs)
    rows = [*_early(errors), *_late(errors), *_bits(errors), *_training(errors), *_values(errors)]
    return pd.DataFrame(rows, columns=["where", "claim", "ours", "verdict", "seeds", "why"])


def _digits(errors: Errors) -> list[str]:
    return [name for name in errors.datasets if name in DIGITS]


def gap(few: tuple[int, ...], many: tuple[int, ...], epoch: int):
    """Mean error with `few` weight bits minus that with `many`, points."""
    return lambda e, d: e.mean(d, epoch, few) - e.mean(d, epoch, many)


def wider(e: Errors, d: str) -> pd.Series:
    """What the weights' bits change after all epochs minus what the activations' change, points."""
    return e.reach(d, e.last, "weight_bits") - e.reach(d, e.last, "act_bits")


def explained(e: Errors, d: str) -> pd.Series:
    """Share of the variance between configurations that the weights' bits explain, %."""
    rows = e.at(d, e.last)
    if rows.index.get_level_values("weight_bits").nunique() < 2:
        raise NotRun("two weight widths")
    means = rows.groupby(level="weight_bits").transform("mean")
    return 100 * means.var(ddof=0) / rows.var(ddof=0)


def beyond_three(e: Errors, d: str) -> pd.Series:
    """Error of W3A3 minus the mean of those with 4 bits or more throughout, points."""
    return e.mean(d, e.last, (3,), (3,)) - e.mean(d, e.last, MANY, MANY)


def _early(errors: Errors) -> Rows:
    """Little training: the error of 1 to 3 bit weights."""
    digits = _digits(errors)

    def apart(epoch):
        def effect(e, d):
            widths = e.by(d, epoch, "weight_bits").loc[3:8]
            order = widths.mean(axis=1)
            within = widths.loc[order.idxmax()] - widths.loc[order.idxmin()]
            return gap((1, 2), (3, *MANY), epoch)(e, d) - within

        return effect

    def extreme(bits, which):
        def find():
            rows = errors.at(digits[0], EARLY[0])
            rows = rows[rows.index.get_level_values("weight_bits").isin(bits)]
            if set(rows.index.get_level_values("weight_bits")) != set(bits):
                raise NotRun(f"weight_bits {bits}")
            return float(getattr(rows.mean(axis=1), which)())

        return find

    rows = judge(
        errors,
        (STEWART, "one_to_three_bit_weights_lose_accuracy"),
        [("W1–3 minus W4–8, epoch 10", gap(FEW, MANY, 10), "above", NOTICEABLE)],
        digits,
        NETWORK,
    )
    rows += judge(
        errors,
        (STEWART, "gap_between_two_and_three_bits"),
        [
            (f"(W1–2 minus W3–8) minus the spread of W3–8, epoch {epoch}", apart(epoch), "above", 0)
            for epoch in EARLY
        ],
        digits,
        NETWORK,
    )
    if digits:
        why = f"{chance(4):.2f} points: two standard errors of a difference; {NETWORK}"
        for name, which in (("low", "min"), ("high", "max")):
            found = extreme(FEW, which)
            claim = STEWART, f"low_bit_weights_error_{name}"
            rows += number(errors, claim, found, chance(4), why)
        rows += judge(
            errors,
            (STEWART, "high_bit_weights_error"),
            [
                (
                    "worst of W4–8, epoch 10",
                    lambda e, d: e.at(d, 10).loc[4:8].max() if e.mean(d, 10, MANY).size else None,
                    "below",
                    3.7,
                )
            ],
            digits,
            NETWORK,
            "%",
        )
    return rows


def _late(errors: Errors) -> Rows:
    """Enough training: 2 bit weights catch up."""
    digits, every = _digits(errors), errors.datasets
    end = LATE[1]
    rows = judge(
        errors,
        (STEWART, "training_moves_boundary_to_one_bit"),
        [
            (f"W1 minus W2–8, epoch {end}", gap((1,), (2, 3, *MANY), end), "above", NOTICEABLE),
            (f"W2 minus W3–8, epoch {end}", gap((2,), (3, *MANY), end), "below", NOTICEABLE),
        ],
        digits,
        NETWORK,
    )
    for claim, few, many, epoch, datasets in (
        ("two_bit_catches_up", (2,), (3, *MANY), end, digits),
        ("two_bits_suffice_beyond_40_epochs", (2,), (3,), LATE[0], digits),
        ("two_bit_catches_up_beyond_50_epochs", (2,), (3, *MANY), 60, every),
    ):
        words = f"W2 minus W{many[0]}{'–8' if len(many) > 1 else ''}, epoch {epoch}"
        parts = [(words, gap(few, many, epoch), "below", NOTICEABLE)]
        rows += judge(errors, (STEWART, claim), parts, datasets, NETWORK)

    def later(e, d):
        return e.mean(d, end, (2,)) - e.mean(d, 40, (8,))

    def closing(e, d):
        return gap((2,), (8,), 10)(e, d) - gap((2,), (8,), end)(e, d)

    why = "one schedule of 100 epochs; errors at epoch 40 are before the learning rate falls"
    for claim, words, effect, side, threshold in (
        ("two_bits_at_100_match_eight_at_40", "W2 at 100 minus W8 at 40", later, "below", 0),
        (
            "training_lets_low_bits_catch_up",
            f"W2 minus W8, epoch {end}",
            gap((2,), (8,), end),
            "below",
            NOTICEABLE,
        ),
        ("training_covers_accuracy_gaps", "fall of W2 minus W8, 10 to 100", closing, "above", 0),
    ):
        parts = [(words, effect, side, threshold)]
        rows += judge(errors, (DUCASSE, claim), parts, every, why)
    return rows


def _bits(errors: Errors) -> Rows:
    """Weights against activations, steps of one bit, the best configurations; after all epochs."""
    digits, every, end = _digits(errors), errors.datasets, errors.last

    def best_other(e, d):
        rows = e.at(d, end)
        if (8, 8) not in rows.index or len(rows) < 2:
            raise NotRun("W8A8")
        others = rows.drop(index=(8, 8))
        return others.loc[others.mean(axis=1).idxmin()] - rows.loc[(8, 8)]

    def first_step(e, d):
        weights, acts = e.by(d, end, "weight_bits"), e.by(d, end, "act_bits")
        if not {1, 2, 3} <= set(weights.index):
            raise NotRun("1, 2 and 3 bit weights")
        falls = pd.concat([-weights.diff().iloc[2:], -acts.diff().iloc[1:]])
        return weights.loc[1] - weights.loc[2] - falls.loc[:].iloc[falls.mean(axis=1).argmax()]

    def step(level):
        return lambda e, d: e.smallest_step(d, end, level)

    def first_widths(e, d):
        one, three, six, eight = (e.one(d, end, bits, 4) for bits in (1, 3, 6, 8))
        later = pd.concat([three - six, six - eight], axis=1)
        return one - three - later.iloc[:, later.mean().argmax()]

    acts, weights = "smallest fall with a further activation bit", "with a further weight bit"
    reach = "reach of the weight bits minus that of the activation bits"
    quarter = [(bits, bits) for bits in range(2, 8)]
    rows: Rows = []
    for claim, words, effect, side, threshold, datasets, unit in (
        ((STEWART, "activation_precision_helps_accuracy"), acts, step("act_bits"), "above", 0,
         digits, "points"),
        ((DUCASSE, "activations_without_trend"), acts, step("act_bits"), "below", 0, every,
         "points"),
        ((STEWART, "weights_matter_more_than_activations"), reach, wider, "above", 0, digits,
         "points"),
        ((DUCASSE, "weights_matter_more_than_activations"), reach, wider, "above", 0, every,
         "points"),
        ((DUCASSE, "weights_decide_accuracy"), "share of the variance that weight bits explain",
         explained, "above", 50, every, "%"),
        ((DUCASSE, "more_weight_bits_more_accuracy"), f"smallest fall {weights}",
         step("weight_bits"), "above", 0, every, "points"),
        ((STEWART, "one_to_two_weight_bits_help_most"),
         "fall from W1 to W2 minus the largest other", first_step, "above", 0, digits, "points"),
        ((STEWART, "one_to_three_weight_bits_help_most"),
         "fall from W1A4 to W3A4 minus the largest of W3A4, W6A4, W8A4", first_widths, "above", 0,
         digits, "points"),
        ((STEWART, "highest_precision_most_accurate"), "best other minus W8A8", best_other,
         "above", 0, every, "points"),
        ((STEWART, "no_gain_beyond_three_bits"), "W3A3 minus W4–8A4–8", beyond_three, "below",
         NOTICEABLE, every, "points"),
        ((DUCASSE, "no_gain_beyond_three_bits"), "W3A3 minus W4–8A4–8", beyond_three, "below",
         NOTICEABLE, every, "points"),
        ((STEWART, "four_bit_weights_top_half"), "least accuracy score of W4A1–8",
         lambda e, d: e.score(d, end, [(4, bits) for bits in range(1, 9)]), "above", 0.5, digits,
         ""),
        ((STEWART, "two_bits_top_quartile"), "least accuracy score of W2A2 to W7A7",
         lambda e, d: e.score(d, end, quarter), "above", 0.75, digits, ""),
        ((STEWART, "quantised_competes_with_full_precision"), "W8A8 minus float32",
         lambda e, d: e.one(d, end, 8, 8) - e.one(d, end, FLOAT, FLOAT), "below", NOTICEABLE,
         every, "points"),
        ((DUCASSE, "low_precision_costs_little_accuracy"), "W2A2 minus float32",
         lambda e, d: e.one(d, end, 2, 2) - e.one(d, end, FLOAT, FLOAT), "below", 1, every,
         "points"),
    ):  # fmt: skip
        why = f"after {end} epochs, {errors.table.shape[1]} seeds"
        rows += judge(errors, claim, [(words, effect, side, threshold)], datasets, why, unit)
    return rows


def _training(errors: Errors) -> Rows:
    """What training does to all configurations."""
    every, end = errors.datasets, errors.last
    reported = [epoch for epoch in REPORTED if epoch <= end]

    def smallest_fall(e, d):
        if len(reported) < 2:
            raise NotRun("two of the epochs reported")
        means = pd.concat([e.mean(d, epoch) for epoch in reported], axis=1)
        falls = -means.diff(axis=1).iloc[:, 1:]
        return falls.iloc[:, falls.mean().argmin()]

    def narrower(e, d):
        return e.spread(d, EARLY[0]) - e.spread(d, LATE[1])

    def fashion_step(e, d):
        two, three, four = (e.one(d, 40, bits, bits) for bits in (2, 3, 4))
        falls = pd.concat([two - three, three - four], axis=1)
        return falls.iloc[:, falls.mean().argmin()]

    def harder(e, d):
        return e.mean("fashion-mnist", end) - e.mean("mnist", end)

    epochs = ", ".join(map(str, reported))
    fashion = [name for name in every if name == "fashion-mnist"]
    spread = "worst minus best configuration, epoch 10 minus epoch 100"
    why = "within one schedule; the learning rate is constant up to epoch 90"
    rows = judge(
        errors,
        (DUCASSE, "training_lowers_error"),
        [(f"smallest fall between epochs {epochs}", smallest_fall, "above", 0)],
        every,
        why,
    )
    for source, claim, datasets in (
        (DUCASSE, "gains_shrink_with_training", every),
        (STEWART, "spread_shrinks_with_training", _digits(errors)),
    ):
        rows += judge(errors, (source, claim), [(spread, narrower, "above", 0)], datasets, why)
    rows += judge(
        errors,
        (STEWART, "more_bits_more_fashion_accuracy"),
        [("smaller fall from W2A2 to W3A3 to W4A4, epoch 40", fashion_step, "above", 0)],
        fashion,
        why,
    )
    if {"mnist", "fashion-mnist"} <= set(every):
        parts = [("Fashion-MNIST minus MNIST", harder, "above", 0)]
        rows += judge(errors, (DUCASSE, "fashion_harder_than_mnist"), parts, ["fashion-mnist"], why)
    return rows


def _values(errors: Errors) -> Rows:
    """Stated numbers: the sweet spot, the best accuracy."""
    every, end = errors.datasets, errors.last
    noticeable = f"the least width less than {NOTICEABLE} points behind"

    def worst_gap(few, many):
        return max(float((few(name) - many(name)).mean()) for name in every)

    def diagonal():
        return enough(
            {
                bits: worst_gap(
                    lambda d, b=bits: errors.one(d, end, b, b), lambda d: errors.one(d, end, 8, 8)
                )
                for bits in range(1, 9)
            }
        )

    def weights():
        return enough(
            {
                bits: worst_gap(
                    lambda d, b=bits: errors.mean(d, end, (b,)),
                    lambda d, b=bits: errors.mean(d, end, tuple(range(b + 1, 9))),
                )
                for bits in range(1, 8)
            }
        )

    def best():
        return 100 - float(errors.at("fashion-mnist", end).mean(axis=1).min())

    rows = number(
        errors, (STEWART, "sweet_spot_precision"), diagonal, 0, f"{noticeable} W8A8: accuracy alone"
    )
    rows += number(
        errors, (DUCASSE, "no_gain_bits"), weights, 0, f"{noticeable} the mean of all wider weights"
    )
    if "fashion-mnist" in every:
        why = (
            f"{chance(88):.2f} points, two standard errors of a difference; taken as Fashion-MNIST"
        )
        rows += number(errors, (DUCASSE, "best_accuracy"), best, chance(88), why)
    return rows
