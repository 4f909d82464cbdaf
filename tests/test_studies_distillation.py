"""Chapter 06's tables, on surfaces whose answer is known."""

import numpy as np
import pandas as pd
import pytest

from qbench import chapters, parameters
from qbench.studies import distillation as study
from qbench.studies import distillation_claims as judged

FIRST, SECOND, THIRD = study.PAIRS
ALPHAS, TEMPERATURES = (0.1, 0.5, 0.9), (1.0, 4.0, 16.0)


def surface(pair=FIRST, *, effect=lambda a, t: -2.0, noise=0.05, seeds=(0, 1, 2), plain=40.0):
    """Trainings whose error is `plain` plus `effect(α, T)`, plus a seed's shift and noise."""
    numbers = np.random.default_rng(5)
    rows = []
    for seed in seeds:
        points = [(None, None), *((a, t) for a in ALPHAS for t in TEMPERATURES)]
        for alpha, temperature in points:
            gain = 0.0 if alpha is None else effect(alpha, temperature)
            error = plain + gain + seed / 3 + noise * numbers.standard_normal()
            rows.append(
                {
                    "pair": pair,
                    "seed": seed,
                    "alpha": alpha,
                    "temperature": temperature,
                    "distilled": alpha is not None,
                    "test_error": error,
                }
            )
    return pd.DataFrame(rows)


def test_differences_are_taken_against_the_student_without_a_teacher():
    runs = surface(effect=lambda a, t: -a * t, noise=0.0)
    table = judged.beside_plain(runs, FIRST)
    assert judged.plain_error(runs, FIRST) == pytest.approx(40 + 1 / 3)
    assert np.allclose(table["difference"], -table["alpha"] * table["temperature"])
    assert len(table) == 9 and not np.isinf(table["alpha"]).any()


def test_an_effect_beyond_the_noise_is_clear_and_one_within_it_is_not():
    runs = surface(effect=lambda a, t: {0.1: -3.0, 0.5: 0.0, 0.9: 3.0}[a], noise=0.3)
    effects = judged.beside_plain(runs, FIRST).groupby("alpha")["effect"].agg(set)
    assert effects[0.1] == {"helps"} and effects[0.9] == {"hurts"}
    assert effects[0.5] == {"cannot tell"}


def test_one_seed_tells_nothing():
    table = judged.beside_plain(surface(seeds=(4,)), FIRST)
    assert set(table["effect"]) == {"cannot tell"}
    assert judged.variance(surface(seeds=(4,)), FIRST).empty


def test_variance_finds_what_moves_the_error():
    slopes = judged.variance(
        surface(effect=lambda a, t: -4 * a + np.log2(t) / 2, noise=0.2), FIRST
    ).set_index("source")
    assert slopes.p["α"] < 1e-6 and slopes.p["T"] < 1e-6 and slopes.p["α and T together"] > 0.05
    # α - 0.5 is -0.4, 0 and 0.4: the root mean square of -4 times it
    assert slopes.deviation["α"] == pytest.approx(4 * 0.4 * (2 / 3) ** 0.5, rel=0.1)
    bumps = judged.variance(
        surface(effect=lambda a, t: 3.0 if (a, t) == (0.5, 4.0) else 0.0, noise=0.2), FIRST
    ).set_index("source")
    assert bumps.p["α and T together"] < 1e-6


def test_variance_equals_the_anova_of_a_regression():
    """Sums of squares by projection on dummy variables, an independent way to the same table."""
    runs = surface(effect=lambda a, t: a * t, noise=1.0)
    rows = runs[runs["distilled"]]
    y = rows["test_error"].to_numpy() - rows["test_error"].mean()

    def explained(*columns):
        key = rows[list(columns)].astype(str).agg("|".join, axis=1)
        dummies = pd.get_dummies(key).to_numpy(float)
        return float(dummies @ np.linalg.lstsq(dummies, y, rcond=None)[0] @ y)

    alone = {name: explained(name) for name in ("alpha", "temperature", "seed")}
    both = explained("alpha", "temperature") - alone["alpha"] - alone["temperature"]
    rest = y @ y - sum(alone.values()) - both
    noise = rest / ((9 - 1) * (3 - 1))
    table = judged.variance(runs, FIRST).set_index("source")
    assert table.f["α"] == pytest.approx(alone["alpha"] / 2 / noise)
    assert table.f["α and T together"] == pytest.approx(both / 4 / noise)
    assert table.f["seed"] == pytest.approx(alone["seed"] / 2 / noise)
    assert table.deviation["what is left"] == pytest.approx(noise**0.5)


@pytest.mark.parametrize(
    ("pair", "effect", "expected"),
    [
        (FIRST, lambda a, t: -2.0, {"any": "trend"}),
        (FIRST, lambda a, t: 2.0 if a == 0.5 else -2.0, {"any": "differs"}),
        (SECOND, lambda a, t: 2.0 if (a, t) == (0.5, 4.0) else -2.0, {"some": "trend"}),
        (SECOND, lambda a, t: -2.0, {"some": "differs"}),
        (THIRD, lambda a, t: 2.0 if a > 0.1 else -2.0, {"most": "trend", "some": "trend"}),
        (THIRD, lambda a, t: -2.0 if a > 0.1 else 2.0, {"most": "differs", "some": "trend"}),
    ],
)
def test_claims_are_predicates(pair, effect, expected):
    found = judged.claims(surface(pair, effect=effect), "cifar10")
    assert set(found["seeds"][:1]) == {"settled"}
    starts = {"any": "every choice", "most": "most choices", "some": "some choices"}
    for word, verdict in expected.items():
        rows = found[found["claim"].str.contains(starts[word])]
        assert list(rows["verdict"]) == [verdict], word


def test_a_trend_breaks_the_claim_that_there_is_none():
    rising = judged.claims(surface(THIRD, effect=lambda a, t: 5 * a), "cifar10")
    flat = judged.claims(surface(THIRD, effect=lambda a, t: 0.0, noise=1.0), "cifar10")
    assert rising["verdict"].iloc[-1] == "differs" and flat["verdict"].iloc[-1] == "trend"


def test_one_seed_settles_no_claim():
    found = judged.claims(surface(seeds=(0,)), "cifar10")
    assert list(found["seeds"]) == ["one seed: cannot tell"]


def test_lessons_name_the_best_combination():
    runs = surface(effect=lambda a, t: -5.0 if (a, t) == (0.9, 4.0) else -1.0)
    said = judged.lessons(runs, "cifar10")
    assert "α = 0.9 and T = 4" in said and "9 of 9 combinations lower the error (9 clearly)" in said
    assert "% (95 % interval of 3 seeds)" in said


def test_with_one_seed_only_counting_says_what_is_large():
    runs = surface(effect=lambda a, t: -5.0 if a == 0.9 else -0.5, noise=0.0, seeds=(0,))
    said = judged.lessons(runs, "cifar10")
    assert "clearly" not in said and "±" not in said
    # two standard errors of a difference of two shares of 40 % of 10,000
    assert "; 3 by more than the 1.39 points that counting errors on 10,000 images" in said
    two = judged.lessons(surface(seeds=(0, 1)), "cifar10")
    assert "(mean of 2 seeds)" in two and "±" not in two


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"temperatures": "0"}, "temperatures must be"),
        ({"alphas": "0.5,1.5"}, "alphas must be"),
        ({"images": "100,200"}, "images must be"),
        ({"images": 4001}, "images must be"),
        ({"teacher_images": 100}, "teacher_images must be"),
        ({"repeated": "resnet32x4/resnet8x4"}, "repeated must be"),
        ({"workers": 0}, "workers must be"),
    ],
)
def test_a_bad_parameter_is_one_sentence(given, words):
    with pytest.raises(parameters.ParameterError) as caught:
        parameters.check("06_distillation", **given)
    said = str(caught.value)
    assert said.startswith(words) and "\n" not in said and said.endswith(".")


def test_lists_give_each_pair_its_own():
    p = parameters.check(
        "06_distillation",
        pairs=[FIRST, THIRD],
        images=[300, 200],
        epochs=2,
        teacher_images=None,
        seeds=[3, 4],
        repeated=[THIRD],
    )
    assert [p.of("images", pair) for pair in p.pairs] == [300, 200]
    assert [p.of("epochs", pair) for pair in p.pairs] == [2, 2]
    assert p.of("teacher_images", FIRST) is None
    assert p.seeds_of(FIRST) == [3] and p.seeds_of(THIRD) == [3, 4]


@pytest.mark.parametrize("profile", ["laptop", "paper", "published"])
def test_profiles_are_allowed(profile):
    chapter = chapters.find("06")
    p = parameters.check(chapter.name, **chapters.parameters(chapter, profile, {}))
    assert p.dataset == "cifar10"


def test_the_table_of_variances_has_every_pair_with_seeds():
    runs = pd.concat([surface(), surface(SECOND, seeds=(0,)), surface(THIRD)])
    table = judged.variances(runs)
    assert list(dict.fromkeys(table["pair"])) == [study.title(FIRST), study.title(THIRD)]
    assert len(table) == 2 * 5
    assert list(judged.variances(surface(seeds=(0,)))) == ["note"]
