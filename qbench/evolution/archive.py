"""Everything that a search asked for and learnt, on disk as it goes.

The file holds JSON lines: the digest of all that follows, then the settings of the search and the
time it has taken, then a line for each individual that has its values, in the order in which they
were asked for. It is rewritten, atomically, whenever a network has been evaluated. A search
continues by running again from its seed and finding here what it had learnt; nothing is unpickled.
"""

import hashlib
import json
import math
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from qbench import paths, store
from qbench.files import write_atomically

from .dominance import OBJECTIVES
from .errors import EvolutionError, is_number
from .genotype import Genotype, Phenotype, Space

Values = Mapping[str, float | str | bool]
COLUMNS = ("generation", "index", "origin", "trained", "survived_until", "phenotype")
clock = time.monotonic


@dataclass
class Individual:
    """One individual asked for. `survived_until`: the last generation that kept it, 0 for none."""

    generation: int
    index: int
    origin: str
    trained: bool
    genotype: Genotype
    phenotype: Phenotype
    survived_until: int = 0


class Archive:
    """The individuals of one search in order, and what the evaluator said of their phenotypes.

    With `file`, what is there already is read: `EvolutionError` where it is of a search with other
    `settings`. A damaged file is said to be one and set aside, and the search begins again. What
    networks cost is `settings["cost"]`, by default `latency_ms`.
    """

    def __init__(self, space: Space, settings: Mapping[str, Any], file: Path | None = None):
        self.space, self.file = space, None if file is None else Path(file)
        self.objectives = _objectives(settings)
        described = {**settings, "genes": [asdict(gene) for gene in space.genes]}
        described |= {"space": space.name, "baseline": space.baseline}
        self.settings = json.loads(json.dumps(described))  # as it will be read back
        self.individuals: list[Individual] = []
        self.values: dict[Phenotype, dict[str, float | str | bool]] = {}
        self._asked: dict[Phenotype, Individual] = {}
        self._stored: list[dict[str, Any]] = []
        self._stored_text, earlier = b"", 0.0
        if self.file is not None:
            with store.writing(self.file.parent):
                self.file.parent.mkdir(parents=True, exist_ok=True)
            earlier = self._read()
        self._began = clock() - earlier

    @property
    def minutes(self) -> float:
        """What the search has taken, before interruptions too."""
        return (clock() - self._began) / 60

    @property
    def asked(self) -> Iterable[Phenotype]:
        """Every different network asked for."""
        return self._asked.keys()

    def begun(self, generation: int) -> bool:
        """Whether the file had individuals of this generation when the search began."""
        return any(row["generation"] == generation for row in self._stored)

    def ask(
        self, generation: int, genotypes: Sequence[Genotype], origins: Sequence[str]
    ) -> tuple[list[Individual], list[Phenotype]]:
        """The new individuals of a generation, and those of their networks to evaluate."""
        fresh = []
        stored = {(row["generation"], row["index"]): row["genotype"] for row in self._stored}
        for index, (genotype, origin) in enumerate(zip(genotypes, origins, strict=True)):
            if stored.get((generation, index), list(genotype)) != list(genotype):
                raise EvolutionError(
                    f"{paths.shown(self.file)} holds a search that took another way from the same "
                    f"seed (generation {generation}), with other versions of NumPy or pymoo: name "
                    "another file, or delete that one."
                )
            phenotype = self.space.decode(genotype)
            one = Individual(
                generation, index, origin, phenotype not in self._asked, tuple(genotype), phenotype
            )
            self._asked.setdefault(phenotype, one)
            self.individuals.append(one)
            fresh.append(one)
        unknown = (one.phenotype for one in fresh if one.phenotype not in self.values)
        return fresh, list(dict.fromkeys(unknown))

    def keep(self, phenotype: Phenotype, values: Values) -> None:
        """Take what the evaluator says of a network, and write it. Raises `EvolutionError`."""
        if phenotype not in self._asked:
            raise EvolutionError(f"the evaluator kept {phenotype}, which nobody had asked for.")
        if phenotype in self.values:
            raise EvolutionError(f"the evaluator kept {phenotype} twice.")
        taken = (*COLUMNS, *self.space.names)
        self.values[phenotype] = _checked(phenotype, values, taken, self.objectives[0])
        self.write()

    def failed(self, phenotype: Phenotype) -> bool:
        return any(math.isnan(self.values[phenotype][name]) for name in self.objectives)

    def write(self) -> None:
        """Write what is known, unless the file holds that or more already."""
        if self.file is None:
            return
        rows = self._rows()
        if len(rows) < len(self._stored):  # while it takes the way that it took before
            return
        text = b"".join(map(_line, rows))
        if text == self._stored_text:
            return
        head = _line({"settings": self.settings, "seconds": round(self.minutes * 60, 3)})
        with store.writing(self.file.parent):
            write_atomically(self.file, _digest(head + text) + head + text)
        self._stored, self._stored_text = rows, text

    def frame(self) -> pd.DataFrame:
        """One row an individual that has its values, in the order asked for; see `read`."""
        return _frame(self.space.names, self._rows(), self.objectives)

    def _rows(self) -> list[dict[str, Any]]:
        return [
            {name: getattr(one, name) for name in COLUMNS}
            | {"phenotype": str(one.phenotype), "genotype": list(one.genotype)}
            | {"values": self.values[one.phenotype]}
            for one in self.individuals
            if one.phenotype in self.values
        ]

    def _read(self) -> float:
        """Take over what the file holds; returns the seconds that it took."""
        if not self.file.exists():
            return 0.0
        content = _verified(self.file.read_bytes())
        if content is None:
            aside = self.file.with_name(f"{self.file.name}.damaged")
            with store.writing(self.file.parent):
                self.file.replace(aside)
            print(
                f"{paths.shown(self.file)} is damaged: it is now {aside.name}, "
                "and the search begins again",
                file=sys.stderr,
            )
            return 0.0
        head, rows = content
        for name, value in self.settings.items():
            other = head["settings"].get(name)
            if other != value:
                plain = not isinstance(value, list | dict)
                raise EvolutionError(
                    f"{paths.shown(self.file)} holds a search with "
                    f"{f'{name} {other!r}, not {value!r}' if plain else f'other {name}'}: "
                    "name another file, or delete that one."
                )
        self._stored = rows
        self._stored_text = b"".join(map(_line, rows))
        for row in rows:
            self.values[self.space.decode(row["genotype"])] = row["values"]
        return float(head["seconds"])


def read(file: Path) -> pd.DataFrame:
    """The archive of a search, finished or not, as `nsga2` and `random_search` return it.

    One row an individual, in the order asked for: `generation` and `index` (from 1 and from 0),
    `origin` (`baseline`, `perturbed`, `start`, `offspring` or `random`), `trained` (False where the
    same network had been asked for before), `survived_until` (the last generation whose selection
    kept it, 0 for none), `phenotype`, a column a gene, and what the evaluator gave. Raises
    `EvolutionError` for a file that is missing or damaged.
    """
    try:
        content = _verified(Path(file).read_bytes())
    except OSError as error:
        raise EvolutionError(f"{paths.shown(file)} cannot be read: {error.strerror}.") from None
    if content is None:
        raise EvolutionError(f"{paths.shown(file)} is damaged: search again.")
    head, rows = content
    settings = head["settings"]
    return _frame([gene["name"] for gene in settings["genes"]], rows, _objectives(settings))


def _objectives(settings: Mapping[str, Any]) -> tuple[str, str]:
    return settings.get("cost", OBJECTIVES[0]), OBJECTIVES[1]


def _frame(
    names: Sequence[str], rows: Sequence[Mapping[str, Any]], objectives: tuple[str, str]
) -> pd.DataFrame:
    needed = reversed(objectives)
    given = dict.fromkeys([*needed, *(name for row in rows for name in row["values"])])
    table = [
        {name: row[name] for name in COLUMNS}
        | dict(zip(names, row["genotype"], strict=True))
        | row["values"]
        for row in rows
    ]
    return pd.DataFrame(table, columns=[*COLUMNS, *names, *given])


def _checked(
    phenotype: Phenotype, values: Values, taken: Sequence[str], cost: str
) -> dict[str, Any]:
    """`values` in Python's own types. Raises `EvolutionError` for what cannot be ranked."""
    plain = {
        str(name): value.item() if isinstance(value, np.generic) else value
        for name, value in values.items()
    }
    for name, value in plain.items():
        if name in taken:
            raise EvolutionError(f"the evaluator must not give {name}: the archive has that name.")
        if not isinstance(value, float | int | str | bool):
            raise EvolutionError(
                f"{name} of {phenotype} must be a number, a text or a truth value, not {value!r}."
            )
    if _nan(plain.get("error")):
        plain.setdefault(cost, math.nan)
    for name, allowed, within in (
        ("error", "a percentage from 0 to 100", lambda value: 0 <= value <= 100),
        (cost, "a positive finite number", lambda value: 0 < value < math.inf),
    ):
        value = plain.get(name)
        if not is_number(value) or not (_nan(value) or within(value)):
            raise EvolutionError(
                f"{name} of {phenotype} must be {allowed}, or NaN if it failed, not {value!r}."
            )
        plain[name] = float(value)
    return plain


def _nan(value: object) -> bool:
    return is_number(value) and math.isnan(value)


def _line(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode() + b"\n"  # NaN as Python reads it


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode() + b"\n"


def _verified(content: bytes) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
    """The settings and the rows of a file; None where they are not what was written."""
    digest, newline, rest = content.partition(b"\n")
    if digest + newline != _digest(rest):
        return None
    head, *rows = map(json.loads, rest.splitlines())
    return head, rows
