"""qbench: the library behind a reproducibility book for quantised neural networks.

Importing it loads nothing heavy: each room (`qbench.data`, `qbench.store`, `qbench.training`, ...)
is imported when it is first used.
"""

from importlib import import_module
from types import ModuleType

__version__ = "0.1.0"

_ROOMS = (
    "addnet",
    "book",
    "chapters",
    "checkpoints",
    "cli",
    "cluster",
    "combining",
    "curves",
    "data",
    "distillation",
    "docstrings",
    "errata_page",
    "errors",
    "evolution",
    "execute",
    "faults",
    "files",
    "gallery",
    "hardware",
    "ledger",
    "library",
    "licences",
    "lineages",
    "models",
    "new_chapter",
    "numbering",
    "numbers",
    "pages",
    "parameters",
    "paths",
    "plots",
    "printing",
    "provenance",
    "pruning",
    "qkd",
    "quantizers",
    "reference",
    "runtimes",
    "scoreboard",
    "scoreboard_page",
    "small_runs",
    "sparsity",
    "speed",
    "speed_distillation",
    "speed_processes",
    "speed_rounding",
    "speed_tables",
    "speed_waits",
    "store",
    "studies",
    "sweep",
    "syq",
    "threads",
    "training",
    "workers",
)


def __getattr__(name: str) -> ModuleType:
    if name in _ROOMS:
        return import_module(f"qbench.{name}")
    raise AttributeError(f"qbench has no room {name!r}; it has {', '.join(_ROOMS)}")


def __dir__() -> list[str]:
    return sorted([*_ROOMS, "__version__"])
