"""What a search refuses: one sentence with the value and what is allowed, before any work."""

import subprocess
import sys
from pathlib import Path

import pytest
from evolution_toy import TINY, Evaluator, measured

from qbench.evolution import EvolutionError, Phenotype, nsga2, random_search
from qbench.store import StoreError

NAN, INF = float("nan"), float("inf")
GOOD = {"population": 4, "generations": 2, "seed": 0, "noise": 0.05, "error_step": 0.5}
NOT_NEGATIVE = "must be a finite number of at least 0, not"
BUDGET = "budget_minutes must be a positive number, or None for no limit, not"
SEED = "seed must be a whole number from 0 to 2**31 - 1, not"


def refused(ask, *args, **options) -> str:
    with pytest.raises(EvolutionError) as caught:
        ask(*args, progress=False, **options)
    said = str(caught.value)
    assert "\n" not in said and said.endswith(".")
    return said


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"population": 1}, "population must be a whole number of at least 2, not 1."),
        ({"population": 2.5}, "population must be a whole number of at least 2, not 2.5."),
        ({"generations": 0}, "generations must be a whole number of at least 1, not 0."),
        ({"generations": True}, "generations must be a whole number of at least 1, not True."),
        ({"noise": -0.1}, f"noise {NOT_NEGATIVE} -0.1."),
        ({"noise": NAN}, f"noise {NOT_NEGATIVE} nan."),
        ({"error_step": -1}, f"error_step {NOT_NEGATIVE} -1."),
        ({"error_step": INF}, f"error_step {NOT_NEGATIVE} inf."),
        ({"error_step": None}, f"error_step {NOT_NEGATIVE} None."),
        ({"budget_minutes": 0}, f"{BUDGET} 0."),
        ({"budget_minutes": -1}, f"{BUDGET} -1."),
        ({"budget_minutes": NAN}, f"{BUDGET} nan."),
        ({"seed": -1}, f"{SEED} -1."),
        ({"seed": None}, f"{SEED} None."),
    ],
)
def test_a_search_that_cannot_be(tmp_path, wrong, said):
    idle = Evaluator()
    folder = tmp_path / "new"
    assert refused(nsga2, TINY, idle, archive=folder / "a.jsonl", **GOOD | wrong) == said
    assert idle.calls == 0 and not folder.exists()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"evaluations": 0}, "evaluations must be a whole number of at least 1, not 0."),
        (
            {"evaluations": 776},
            "evaluations must be at most 775, the different networks of tiny, not 776.",
        ),
        ({"batch": 0}, "batch must be a whole number of at least 1, not 0."),
        ({"draw": "best"}, "draw must be one of uniform, perturbed, not 'best'."),
        ({"budget_minutes": 0}, f"{BUDGET} 0."),
        ({"seed": 1.5}, f"{SEED} 1.5."),
    ],
)
def test_a_random_search_that_cannot_be(wrong, said):
    idle = Evaluator()
    assert refused(random_search, TINY, idle, **{"evaluations": 5, "seed": 0} | wrong) == said
    assert idle.calls == 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"error": None}, "error of conv 6-6 · fc 20 must be a percentage from 0 to 100, or NaN"),
        ({"error": 101}, "must be a percentage from 0 to 100, or NaN if it failed, not 101."),
        ({"latency_ms": 0}, "must be a positive finite number, or NaN if it failed, not 0."),
        ({"latency_ms": INF}, "must be a positive finite number, or NaN if it failed, not inf."),
        ({"latency_ms": "1"}, "must be a positive finite number, or NaN if it failed, not '1'."),
        ({"generation": 1}, "the evaluator must not give generation: the archive has that name."),
        ({"channels_1": 1}, "the evaluator must not give channels_1: the archive has that name."),
        ({"notes": [1]}, "must be a number, a text or a truth value, not [1]."),
    ],
)
def test_values_that_cannot_be_ranked_or_archived(wrong, said):
    values = {name: value for name, value in wrong.items() if value is not None}

    def evaluate(one):
        return {name: v for name, v in measured(one).items() if name not in wrong} | values

    text = refused(nsga2, TINY, lambda new, keep: keep(new[0], evaluate(new[0])), **GOOD)
    assert said in text or text.startswith("notes of") and said in text


def test_an_evaluator_that_forgets_repeats_or_invents():
    def forgets(new, keep):
        for one in new[1:]:
            keep(one, measured(one))

    def repeats(new, keep):
        keep(new[0], measured(new[0]))
        keep(new[0], measured(new[0]))

    def invents(new, keep):
        keep(Phenotype((8, 8), ()), measured(new[0]))

    for evaluate, said in (
        (forgets, "the evaluator returned without a result for conv 6-6 · fc 20."),
        (repeats, "the evaluator kept conv 6-6 · fc 20 twice."),
        (invents, "the evaluator kept conv 8-8, which nobody had asked for."),
    ):
        assert refused(nsga2, TINY, evaluate, **GOOD) == said


def test_an_archive_that_cannot_be_written_is_said_before_any_work(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    idle = Evaluator()
    with pytest.raises(StoreError, match="cannot be written"):
        nsga2(TINY, idle, archive=tmp_path / "file" / "a.jsonl", progress=False, **GOOD)
    assert idle.calls == 0


def test_it_knows_neither_torch_nor_what_trains():
    code = (
        "import sys, qbench\n"
        "from evolution_toy import TINY, Evaluator\n"
        "qbench.evolution.nsga2(TINY, Evaluator(), population=2, generations=2, seed=0, noise=0,"
        " error_step=0, progress=False)\n"
        "rooms = ('torch', 'onnxruntime', 'openvino', 'qbench.training', 'qbench.models')\n"
        "print([one for one in rooms if one in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent,
    )
    assert done.stdout == "[]\n", "and pymoo prints nothing of its own"
