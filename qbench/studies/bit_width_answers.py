"""Chapter 02: what this run says of the three conclusions that both papers draw."""

from contextlib import suppress

import pandas as pd

from qbench.studies import words
from qbench.studies.bit_width_claims import EARLY, MANY, beyond_three, explained, gap, wider
from qbench.studies.bit_width_sweep import NOTICEABLE, Errors, NotRun
from qbench.studies.seeds import interval

Answer = tuple[bool, str]  # yes or no, and the numbers that say so


def answers(runs: pd.DataFrame) -> str:
    """The papers' three conclusions, data set by data set, as a Markdown list.

    The numbers and thresholds are those of `bit_width_claims.claims`; what `runs` (of
    `bit_width_sweep.run`) lack is left out.
    """
    errors = Errors(runs)
    end, noticeable = errors.last, f"(noticeable from {NOTICEABLE} points)"
    lines = []
    for question, compared, answer in (
        (
            "Do the weights decide the error?",
            "What their bits change in the mean error, against the bits of the activations, and "
            "their share of the variance between configurations",
            _decide,
        ),
        (
            "Are about 3 bits enough?",
            f"W3A3 minus the mean of W4–8A4–8 {noticeable}",
            _suffice,
        ),
        (
            "Does longer training let 2-bit weights catch up?",
            f"W2 minus W3–8 after {EARLY[0]} and after {end} epochs {noticeable}",
            _catch_up,
        ),
    ):
        said = []
        for name in errors.datasets:
            with suppress(NotRun):
                holds, numbers = answer(errors, name)
                said.append(f"{'yes' if holds else 'no'} on {words.dataset(name)} ({numbers})")
        if said:
            lines.append(f"* **{question}** {compared}: {'; '.join(said)}.\n")
    return "".join(lines)


def _decide(errors: Errors, dataset: str) -> Answer:
    more, share = (float(f(errors, dataset).mean()) for f in (wider, explained))
    weights, acts = (
        errors.reach(dataset, errors.last, of).mean() for of in ("weight_bits", "act_bits")
    )
    numbers = f"{weights:.2f} against {acts:.2f} points, {share:.0f} %"
    return more > 0 and share > 50, numbers


def _suffice(errors: Errors, dataset: str) -> Answer:
    behind = beyond_three(errors, dataset)
    return bool(behind.mean() < NOTICEABLE), f"{_points(behind)} points{_settled(behind)}"


def _catch_up(errors: Errors, dataset: str) -> Answer:
    if errors.last <= EARLY[0]:
        raise NotRun(f"No training is longer than {EARLY[0]} epochs.")
    first, last = (gap((2,), (3, *MANY), n)(errors, dataset) for n in (EARLY[0], errors.last))
    numbers = f"{_points(first)}, then {_points(last)} points{_settled(last)}"
    return bool(last.mean() < NOTICEABLE), numbers


def _settled(by_seed: pd.Series) -> str:
    """A remark where the interval over seeds lies on both sides of what is noticeable."""
    centre, half = interval(by_seed)
    return ", which the seeds do not settle" if abs(centre - NOTICEABLE) <= half else ""


def _points(by_seed: pd.Series) -> str:
    """`0.05 ± 0.03`: mean and half-width of the 95 % interval, which one seed has not."""
    centre, half = interval(by_seed)
    return f"{centre:z.2f}" + ("" if half != half else f" ± {half:.2f}")
