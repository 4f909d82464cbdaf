"""Build the book: execute what changed, stage it, let Jupyter Book render it.

`_build/executed/` keeps the executed notebooks and the files that they offer, `_build/src/` is the
staged source with the repository's own layout (so that edit and launch links match), `_build/book/`
holds the site.
"""

import hashlib
import html
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import nbformat

from qbench import chapters, numbering, paths, provenance
from qbench.errors import UserError
from qbench.execute import Job, run_all, run_elsewhere
from qbench.files import write_atomically
from qbench.numbers import with_minus

EXECUTED = paths.EXECUTED
SOURCE = paths.BUILD / "src"
SITE = paths.BUILD / "book"
INDEX = SITE / "_build" / "html" / "index.html"
MATHJAX = "tex-chtml-full.js"
# What the theme puts into a page that a page read from file:// complains about or never uses: fonts
# preloaded across origins, Thebe (live cells), which Jupyter Book adds twice and from a CDN, and
# 1.5 MB of a script that draws the icons again, which the style sheet beside it has as a font.
UNWANTED = re.compile(
    rb'<link rel="preload" as="font"[^>]*>\n?'
    rb"|<script>const THEBE_JS_URL.*?</script>\n?"
    rb'|<script src="[^"]*/fontawesome/[^"]*\.js[^"]*"></script>\n?'
    rb'|<script async="async" src="[^"]*sphinx-thebe\.js[^"]*"></script>\n?'
    rb'| role="list"(?= class="citation-list")'  # of what are no list items
)
# The arrow that folds the contents below a page, which the theme leaves without a name.
ARROW = b'<summary%s><span class="toctree-toggle"'
UNNAMED = (ARROW % b"", ARROW % b' aria-label="pages below this one"')


class BookError(UserError, RuntimeError):
    """The book could not be built."""


def build(
    *,
    profile: str = "published",
    workers: int = 2,
    recompute: bool = False,
    environment: Mapping[str, str] | None = None,
    scheduler: str | None = None,
) -> Path:
    """Bring the book up to date and return the path of its index page.

    `workers` chapters are executed at a time, and `environment` is what their kernels see besides;
    with a `scheduler` whole chapters are executed by the workers of that cluster.
    A chapter is executed again when its notebook, its parameters, the library, the stored results
    or the published values changed. Raises `BookError` naming every chapter that failed.
    """
    started = time.perf_counter()
    _execute(profile, workers, recompute, environment or {}, scheduler)
    _stage()
    stamp, state = SITE / "state", _digest(_files(SOURCE), provenance.versions())
    if INDEX.exists() and stamp.exists() and stamp.read_text() == state:
        _say("nothing changed since the book was built")
    else:
        stamp.unlink(missing_ok=True)
        _render()
        write_atomically(stamp, state.encode())
    _say(f"book ready in {provenance.duration(time.perf_counter() - started)}")
    return INDEX


def _execute(
    profile: str,
    workers: int,
    recompute: bool,
    environment: Mapping[str, str],
    scheduler: str | None,
) -> None:
    jobs, stamps = [], {}
    shared = [
        *_files(paths.ROOT / "qbench", "*.py"),
        *_files(paths.ROOT / "data"),
        paths.ROOT / "requirements.lock",
    ]
    for chapter in chapters.all_chapters():
        values = chapters.parameters(chapter, profile, {})
        state = _digest([chapter.file, *shared], {**provenance.versions(), "values": values})
        output, stamp = EXECUTED / f"{chapter.name}.ipynb", EXECUTED / f"{chapter.name}.state"
        said = paths.verdicts(chapter.name)
        there = output.exists() and said.exists() and stamp.exists()
        if recompute or not (there and stamp.read_text() == state):
            stamp.unlink(missing_ok=True)
            jobs.append(Job(chapter.name, chapter.file, values, output, said))
            stamps[chapter.name] = (stamp, state)
    if not jobs:
        return
    _say(f"executing {len(jobs)} of {len(chapters.all_chapters())} chapters ({profile})")
    settings = {"QBENCH_BOOK": "1", **({"QBENCH_RECOMPUTE": "1"} if recompute else {})}
    settings |= environment
    if scheduler:
        outcomes = run_elsewhere(jobs, scheduler=scheduler, environment=settings)
    else:
        outcomes = run_all(jobs, workers=workers, environment=settings)
    for outcome in outcomes:
        if not outcome.failure:
            stamp, state = stamps[outcome.job.label]
            write_atomically(stamp, state.encode())
    failures = [outcome.failure for outcome in outcomes if outcome.failure]
    if failures:
        raise BookError("\n".join(failures))


def _stage() -> None:
    """Put together what Jupyter Book reads; files that are the same keep their time stamps."""
    from qbench import gallery, library, pages, scoreboard, scoreboard_page

    staged: dict[str, bytes] = {"_config.yml": (paths.ROOT / "_config.yml").read_bytes()}
    for file in _files(paths.BOOK):
        staged[str(file.relative_to(paths.ROOT))] = file.read_bytes()
    notebooks = {}
    for chapter in chapters.all_chapters():
        notebook = nbformat.read(EXECUTED / f"{chapter.name}.ipynb", as_version=4)
        notebook = numbering.number(_clean(notebook), int(chapter.name[:2]))
        notebook.cells[0].source = _with_offer(notebook, chapter.name)
        notebooks[chapter.name] = notebook
        staged[f"notebooks/{chapter.name}.ipynb"] = nbformat.writes(notebook).encode()
        for file in _files(EXECUTED / f"{chapter.name}_files"):  # see `paths.offered`
            staged[f"notebooks/{chapter.name}_files/{file.name}"] = file.read_bytes()
    judged = scoreboard_page.generated(scoreboard.chapters_said())
    shown = gallery.generated(notebooks)
    for name, text in (pages.generated() | judged | shown).items():
        staged[f"book/generated/{name}"] = text.encode()
    for name, text in library.generated().items():
        staged[f"book/library/{name}"] = text.encode()
    for name, file in _offline_assets().items():
        staged[f"book/_static/{name}"] = file.read_bytes()
    for name, content in staged.items():
        target = SOURCE / name
        if not target.exists() or target.read_bytes() != content:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(target, content)
    for file in _files(SOURCE):
        if str(file.relative_to(SOURCE)) not in staged:
            file.unlink()


def _clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Drop what papermill and the kernel leave behind and a reader has no use for."""
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.source = cell.source.replace("# Parameters", "# The parameters of this page", 1)
        cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
        for output in cell.outputs:
            shown = output.get("data", {})
            shown.pop("application/vnd.plotly.v1+json", None)
            if "text/markdown" in shown:
                shown["text/markdown"] = with_minus(shown["text/markdown"])
    return notebook


def _with_offer(notebook: nbformat.NotebookNode, name: str) -> str:
    """The first cell with a line in front of its sections: the notebook itself, how to run it."""
    words = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    words = re.sub(r"\s*\\\n\s*", " ", words)  # a command over several lines
    command = re.search(rf"^qbench run {name[:2]} .*?(?=\s*(#|$))", words, re.MULTILINE)
    shown = html.escape(command[0] if command else f"qbench run {name[:2]}")
    offer = (
        f'<p class="qb-offer"><a href="../_sources/notebooks/{name}.ipynb" download>Download this '
        f"notebook (.ipynb)</a>, or run it with "
        f'<a href="../book/library/parameters.html">parameters of your own</a>: '
        f"<code>{shown}</code></p>"
    )
    opening, mark, sections = notebook.cells[0].source.partition("\n## ")
    return f"{opening.rstrip()}\n\n{offer}\n{mark}{sections}"


def _offline_assets() -> dict[str, Path]:
    """Scripts and fonts that a page would otherwise fetch from the network."""
    import mathjax

    from qbench import plots

    folder = Path(next(iter(mathjax.__path__))) / "static" / "mathjax" / "es5"
    fonts = (folder / "output" / "chtml" / "fonts" / "woff-v2").glob("*.woff")
    return {
        "plotly.min.js": plots.plotly_js(),
        f"mathjax/{MATHJAX}": folder / MATHJAX,
        **{f"mathjax/output/chtml/fonts/woff-v2/{font.name}": font for font in fonts},
    }


def _render() -> None:
    _say("rendering the pages")
    log = paths.BUILD / "book.log"
    with log.open("w") as out:
        code = subprocess.run(
            [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
            + ["build", str(SOURCE)]
            + ["--toc", str(SOURCE / "book" / "_toc.yml"), "--path-output", str(SITE)]
            + ["-W", "-n", "--keep-going"],
            stdout=out,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    if code or not INDEX.exists():
        lines = [
            line for line in log.read_text().splitlines() if "WARNING" in line or "ERROR" in line
        ]
        said = "\n".join(lines[:20])
        raise BookError(
            f"Jupyter Book failed with status {code}; its log is {paths.shown(log)}.\n{said}"
        )
    for page in _files(INDEX.parent, "*.html"):
        content = page.read_bytes()
        if (kept := UNWANTED.sub(b"", content).replace(*UNNAMED)) != content:
            write_atomically(page, kept)


def _files(folder: Path, pattern: str = "*") -> list[Path]:
    hidden = ("__pycache__", ".ipynb_checkpoints")
    found = (f for f in folder.rglob(pattern) if f.is_file() and not f.name.startswith("."))
    return sorted(file for file in found if not any(part in hidden for part in file.parts))


def _digest(files: Iterable[Path], more: object) -> str:
    """Digest of the files' names and contents and of `more`."""
    total = hashlib.sha256(json.dumps(more, sort_keys=True).encode())
    for file in files:
        name = str(file.relative_to(paths.ROOT)).encode()
        total.update(name + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def _say(line: str) -> None:
    print(f"[book] {line}", file=sys.stderr, flush=True)
