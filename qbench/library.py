"""The library's pages: which rooms stand together, and what each makes public.

Names are read from the source, so that putting the pages together imports nothing; Sphinx' autodoc
fills in signatures and docstrings when it renders them (`qbench.docstrings` helps it).
"""

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from qbench import paths


@dataclass(frozen=True)
class Page:
    """A page of the library: its file's name, its title, and the rooms on it."""

    name: str
    title: str
    rooms: tuple[str, ...]


PAGES = (
    Page("datasets", "Loading data sets", ("data",)),
    Page("architectures", "Network architectures", ("models",)),
    Page("quantisers", "Quantisers", ("quantizers",)),
    Page("training", "Training", ("training", "checkpoints", "curves", "threads", "small_runs")),
    Page("fused_training", "Many networks trained as one", ("sweep",)),
    Page("distillation", "Distillation and QKD", ("distillation", "qkd")),
    Page("evolution", "Evolutionary search", ("evolution",)),
    Page("sparsity", "Sparsity and its codes", ("sparsity",)),
    Page("pruning", "Pruning of filters", ("pruning",)),
    Page("combining", "Methods combined", ("combining",)),
    Page("scales_and_adders", "Learnt scales, multipliers of adders", ("syq", "addnet")),
    Page("fpga", "Cost and speed on FPGAs", ("hardware",)),
    Page("synthesis", "Verilog, simulation, synthesis", ("hardware.synthesis",)),
    Page("runtimes", "Latency, throughput and energy", ("runtimes",)),
    Page("results", "Stored results", ("store", "provenance", "ledger", "lineages")),
    Page(
        "published_values",
        "Published values and verdicts",
        ("reference", "numbers", "scoreboard", "scoreboard_page", "errata_page"),
    ),
    Page("figures", "Figures and tables", ("plots",)),
    Page("parameters", "Parameters of the chapters", ("parameters",)),
    Page("clusters", "Execution and clusters", ("execute", "workers", "cluster")),
    Page(
        "benchmarks",
        "Benchmarks and faults",
        (
            "speed",
            "speed_tables",
            "speed_distillation",
            "speed_processes",
            "speed_rounding",
            "speed_waits",
            "faults",
        ),
    ),
    Page(
        "building",
        "Building the book",
        ("book", "chapters", "new_chapter", "numbering", "gallery", "pages", "library")
        + ("docstrings", "printing", "licences", "cli", "files", "paths", "errors"),
    ),
    Page("analyses", "Analyses of the chapters", ("studies",)),
)
# Of `cli` the commands are no functions any more; of the parameters a table says more; the analyses
# are nearly as many as all the rest, so that a list of them serves better and is sooner made.
WITHOUT_MEMBERS = ("qbench.cli", "qbench.parameters.", "qbench.studies.")
LISTED = "qbench.studies"
LONGEST = 72  # characters of a constant's value that are shown


@dataclass(frozen=True)
class Module:
    """What the source of a module says of itself.

    `defined` are its public functions and classes, `constants` its public constants with value and
    remark (None: autodoc reads the comment above or the text below), `imported` what else of
    qbench its names stand for, `offered` its `__all__`.
    """

    name: str
    first: str  # sentence of its docstring
    package: bool
    defined: dict[str, str] = field(default_factory=dict)  # name: first sentence
    constants: dict[str, tuple[str, str] | None] = field(default_factory=dict)
    imported: dict[str, str] = field(default_factory=dict)
    offered: tuple[str, ...] = ()


def generated() -> dict[str, str]:
    """Markdown by file name, for `book/library/`."""
    return {f"{page.name}.md": _page(page) for page in PAGES}


def listed() -> str:
    """Markdown of a table of the pages."""
    lines = ["| page | rooms | what is there |", "|---|---|---|"]
    for page in PAGES:
        rooms = ", ".join(f"`{room}`" for room in page.rooms)
        first = modules()[f"qbench.{page.rooms[0]}"].first
        lines.append(f"| [{page.title}](library/{page.name}.md) | {rooms} | {first} |")
    return "\n".join(lines) + "\n"


@functools.cache
def modules() -> dict[str, Module]:
    """Every public module of qbench by its name."""
    found = {}
    for file in sorted((paths.ROOT / "qbench").rglob("*.py")):
        parts = file.relative_to(paths.ROOT).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        if not any(part.startswith("_") for part in name.split(".")):
            found[name] = _read(file, name)
    return found


def resolve(text: str, place: str) -> str | None:
    """The full name of what `text` in a docstring of the module `place` means; None: nothing here.

    `text` is a name as it would be written there: `fit`, `Dataset.size`, `data.load`, `search`.
    """
    first, *rest = text.split(".")
    starts = [f"{place}.{first}", f"{place.rpartition('.')[0]}.{first}", f"qbench.{first}"]
    if first == "qbench":
        starts = [first]
    for start in starts:
        known = _canonical(".".join([start, *rest]))
        if known and known != "qbench":
            return known
    return None


def _canonical(name: str) -> str | None:
    """Where what is called `name` is documented."""
    known = modules()
    if name in known:
        return name if not name.startswith(WITHOUT_MEMBERS) or name == "qbench.cli" else None
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        module, rest = known.get(".".join(parts[:cut])), parts[cut:]
        if module is None:
            continue
        if rest[0] in module.imported:
            return _canonical(".".join([module.imported[rest[0]], *rest[1:]]))
        if len(rest) == 1 and rest[0] in {**module.defined, **module.constants}:
            return name if not module.name.startswith(WITHOUT_MEMBERS) else None
        return None
    return None


def _read(file: Path, name: str) -> Module:
    source = file.read_text(encoding="utf-8")
    tree, package = ast.parse(source), file.name == "__init__.py"
    module = Module(name, _first(tree), package)
    offered: tuple[str, ...] = ()
    for node, behind in zip(tree.body, [*tree.body[1:], None], strict=True):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            if not node.name.startswith("_"):
                module.defined[node.name] = _first(node)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            module.imported.update(_imported(node, name, package))
        elif isinstance(node, ast.Assign) and isinstance(target := node.targets[0], ast.Name):
            if target.id == "__all__":
                offered = tuple(ast.literal_eval(node.value))
            elif target.id.isupper() and not target.id.startswith("_"):
                described = isinstance(behind, ast.Expr) and isinstance(behind.value, ast.Constant)
                module.constants[target.id] = None if described else _constant(node, source)
    return Module(**{**module.__dict__, "offered": offered})


def _first(node: ast.Module | ast.FunctionDef | ast.ClassDef) -> str:
    """The docstring's first paragraph on one line."""
    return " ".join((ast.get_docstring(node) or "").partition("\n\n")[0].split())


def _imported(
    node: ast.Import | ast.ImportFrom, name: str, package: bool
) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Import):
        return
    origin = node.module or ""
    if node.level:
        above = name.split(".")[: len(name.split(".")) - node.level + package]
        origin = ".".join([*above, *([origin] if origin else [])])
    if origin.partition(".")[0] == "qbench":
        for alias in node.names:
            yield alias.asname or alias.name, f"{origin}.{alias.name}"


def _constant(node: ast.Assign, source: str) -> tuple[str, str] | None:
    """Value, empty if it is long, and the remark that stands behind it."""
    lines = source.splitlines()
    if lines[max(0, node.lineno - 2)].startswith("#:"):
        return None
    value = " ".join((ast.get_source_segment(source, node.value) or "").split())
    line = lines[(node.end_lineno or 1) - 1]
    remark = line[node.end_col_offset or 0 :].strip().removeprefix("#").strip()
    return value if len(value) <= LONGEST else "", remark


def _page(page: Page) -> str:
    parts = [f"# {page.title}\n"]
    for room in page.rooms:
        of = [m for n, m in modules().items() if f"{n}.".startswith(f"qbench.{room}.")]
        if room == "hardware":  # synthesis has a page of its own
            of = [m for m in of if not m.name.startswith("qbench.hardware.synthesis")]
        for module in of:
            if module.name.startswith(f"{LISTED}."):
                parts.append(_list(module))
            else:
                parts.append(_section(module, top=module.name == f"qbench.{room}"))
        if room == "parameters":
            parts.append("```{include} ../generated/parameters.md\n```\n")
    return "\n".join(parts)


def _section(module: Module, top: bool) -> str:
    members = not module.name.startswith(WITHOUT_MEMBERS) and bool(
        module.defined or None in module.constants.values()
    )
    if not top and not members and not module.constants:
        return ""
    lines = [f"{'##' if top else '###'} `{module.name}`\n", "```{eval-rst}"]
    lines.append(f".. automodule:: {module.name}")
    if members:
        lines += ["   :members:", "   :ignore-module-all:"]
    if top and module.package and module.offered:
        lines += ["", "   .. rubric:: Names of the room", ""]
        lines += [f"   * {_offer(name, module)}" for name in module.offered]
    if not module.name.startswith(WITHOUT_MEMBERS):
        for name, said in module.constants.items():
            if said is not None:
                value, remark = said
                lines += ["", f".. py:data:: {name}", f"   :module: {module.name}"]
                lines += [f"   :value: {value}"] if value else []
                lines += ["", f"   {_literal(remark)}"] if remark else []
    return "\n".join([*lines, "```\n"])


def _list(module: Module) -> str:
    """What a module has, a line each, where its source is to be read for more."""
    lines = [f"### `{module.name}`\n", f"{module.first}\n"]
    lines += [f"- `{name}`: {first}" for name, first in module.defined.items() if first]
    return "\n".join([*lines, ""])


def _offer(name: str, module: Module) -> str:
    """A name of a room with its first sentence, as reStructuredText."""
    from qbench.docstrings import restructured

    full = _canonical(f"{module.name}.{name}")
    if full is None:
        return f"``{name}``"
    owner, _, last = full.rpartition(".")
    first = modules()[owner].defined.get(last, "") if owner in modules() else ""
    said = " ".join(restructured([first.partition(". ")[0]], owner)).rstrip(".")
    return f":py:obj:`{name} <{full}>`" + (f": {said}" if first else "")


def _literal(remark: str) -> str:
    from qbench.docstrings import restructured

    return " ".join(restructured([remark], "qbench"))
