"""What chapter 07 found, as its claims and its lessons read it."""

from dataclasses import dataclass

import pandas as pd

from qbench.data import specs
from qbench.parameters import Evolution
from qbench.studies.bit_width_sweep import chance

from . import evolution as study
from .evolution_networks import RANGE, SPACES


@dataclass(frozen=True)
class Found:
    """What chapter 07 has: parameters, archive, what was measured again, the longer trainings.

    `plain` is the last row of the baseline's training without a teacher, at the search's scale;
    `final` is there once the chosen networks have been trained for longer.
    """

    p: Evolution
    archive: pd.DataFrame
    again: pd.DataFrame
    plain: pd.Series
    final: pd.DataFrame | None = None

    @property
    def last(self) -> pd.DataFrame:
        """The last population, each network once, with the latencies measured again."""
        table = study.populations(self.archive, self.again)
        return table[table.generation == table.generation.iloc[-1]]

    @property
    def baseline(self) -> pd.Series:
        """The baseline with its teacher at the search's scale, latency as measured again."""
        space = SPACES[self.p.student]
        name = str(space.decode(space.baseline))
        now = self.again.set_index("phenotype").loc[name]
        one = self.archive[self.archive.phenotype == name].iloc[0].copy()
        for column in ("latency_ms", "low_ms", "high_ms", *RANGE):
            one[column] = now[column]
        return one

    def ended(self, name: str) -> pd.Series:
        """The longer training of one network, by its name on the page."""
        return self.final.set_index("name").loc[name]

    @property
    def images(self) -> int:
        """Images that test errors were counted on."""
        return specs.find(self.p.dataset).split["test"]


def beside_baselines(found: Found) -> pd.DataFrame:
    """`populations`, and the baseline with and without its teacher as groups of their own."""
    taught = found.baseline.to_frame().T.infer_objects()
    plain = taught.assign(valid_error=found.plain.valid_error, test_error=found.plain.test_error)
    parts = [
        study.populations(found.archive, found.again),
        taught.assign(generation=study.TAUGHT),
        plain.assign(generation=study.PLAIN),
    ]
    return pd.concat(parts, ignore_index=True)


def as_quick(students: pd.DataFrame, baseline: pd.Series) -> pd.Series:
    """Whether each is as quick as the baseline or quicker, as far as noise lets one tell.

    Slower is what `runtimes.distinguishable` calls so: the quartiles do not overlap.
    """
    return students.low_ms <= baseline.high_ms


def dominating(found: Found, error: float) -> tuple[int, int, int]:
    """Of the last population: its size, how many are as quick as the baseline with a lower test
    error than `error`, and of how many of these chance does not explain the difference."""
    students = found.last
    quick = students[as_quick(students, found.baseline)]
    better = quick[quick.test_error < error]
    sure = better[error - better.test_error > chance(error, found.images)]
    return len(students), len(better), len(sure)
