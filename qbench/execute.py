"""Run chapters: papermill in one process a chapter, progress in lines, failures in a sentence."""

import logging
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from qbench import ledger, paths
from qbench.files import write_atomically

# Seconds for a kernel to start, or to hand over what a cell said: a busy machine takes time, and
# after papermill's own 4 the chapter would have failed. A kernel that dies is noticed at once.
PATIENCE = 600
THERE = "<where the partial notebook is>"  # in what a worker says of a failure


@dataclass(frozen=True)
class Job:
    """One execution: the notebook at `source` with `parameters`, written to `output`."""

    label: str
    source: Path
    parameters: Mapping[str, Any]
    output: Path
    verdicts: Path | None = None  # where `qbench.ledger` puts what the chapter says


@dataclass(frozen=True)
class Outcome:
    job: Job
    seconds: float
    failure: str = ""  # empty if it went well


def run_all(
    jobs: Sequence[Job], *, workers: int = 2, environment: Mapping[str, str] | None = None
) -> list[Outcome]:
    """Run `jobs`, at most `workers` at a time, and return their outcomes in the same order.

    Progress goes to standard error. `environment` is added to the kernels' environment. A failing
    notebook stops no other one; what it wrote before it failed is at its `output`.
    """
    workers = max(1, min(workers, len(jobs)))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = {"OMP_NUM_THREADS": str(max(1, (cores or 1) // workers))} if workers > 1 else {}
    settings = {**threads, **(environment or {})}
    if len(jobs) == 1:
        return [_run(jobs[0], settings, alone=True)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(_run, job, settings) for job in jobs]
        return [future.result() for future in futures]


def run_elsewhere(
    jobs: Sequence[Job], *, scheduler: str, environment: Mapping[str, str] | None = None
) -> list[Outcome]:
    """`run_all` with every job as a whole on a worker of the cluster at `scheduler`.

    Notebook, verdicts and offered files come back as if they had been executed here, and so do the
    results that a chapter computed. What this machine has computed and not published does not
    travel: a chapter that shows such results computes them again over there, one after another.
    """
    from qbench import cluster, store, workers

    work = [
        (job.label, job.source.read_bytes(), dict(job.parameters), job.verdicts is not None)
        for job in jobs
    ]
    of = {job.label: job for job in jobs}
    settings = {**(environment or {}), workers.AT_ONCE: "1"}
    outcomes = {}
    with cluster.environment({cluster.VARIABLE: scheduler}):
        for label, seconds, failure, files, results in workers.sent(
            _run_there, work, title="chapters", environment=settings
        ):
            job = of[label]
            for name, content in files.items():
                target = {"notebook": job.output, "verdicts": job.verdicts}.get(name)
                target = target or paths.offered(label) / name.removeprefix("offered/")
                target.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(target, content)
            store.receive(results)
            failure = failure.replace(THERE, paths.shown(job.output))
            outcomes[label] = Outcome(job, seconds, failure)
            said = "failed" if failure else f"done in {seconds:.1f} s"
            print(f"[{label}] {said}", file=sys.stderr, flush=True)
    return [outcomes[job.label] for job in jobs]


def _run_there(
    label: str, source: bytes, parameters: Mapping[str, Any], judged: bool
) -> tuple[str, float, str, dict[str, bytes], dict[str, bytes]]:
    """On a worker: label, seconds, failure, files and new results of a chapter."""
    from qbench import cluster, store

    before = set(store.keys(paths.local_results()))
    offered = paths.offered(label)
    with TemporaryDirectory() as folder:
        notebook, verdicts = Path(folder) / "source.ipynb", Path(folder) / "verdicts.jsonl"
        notebook.write_bytes(source)
        output = Path(folder) / f"{label}.ipynb"
        job = Job(label, notebook, parameters, output, verdicts if judged else None)
        with cluster.environment({ledger.VARIABLE: ""}):
            outcome = _run(job, {})
        files = {
            name: file.read_bytes()
            for name, file in (("notebook", output), ("verdicts", verdicts))
            if file.exists()
        }
        failure = outcome.failure.replace(paths.shown(output), THERE)
    if offered.is_dir():
        files |= {f"offered/{file.name}": file.read_bytes() for file in offered.iterdir()}
    new = [key for key in store.keys(paths.local_results()) if key not in before]
    results = store.packed(store.lookup(key).spec for key in new)
    return label, outcome.seconds, failure, files, results


def recomputed(outcomes: Sequence[Outcome]) -> list[str]:
    """What the executed notebooks say on standard error of results that were computed anew."""
    import nbformat

    from qbench.store import RECOMPUTED

    lines = []
    for outcome in outcomes:
        if not outcome.job.output.exists():
            continue
        for cell in nbformat.read(outcome.job.output, as_version=4).cells:
            parts = [o.text for o in cell.get("outputs", []) if o.get("name") == "stderr"]
            said = "".join(parts).splitlines()
            lines += [f"{outcome.job.label}: {line}" for line in said if RECOMPUTED in line]
    return lines


def _run(job: Job, environment: Mapping[str, str], alone: bool = False) -> Outcome:
    import papermill
    from papermill.exceptions import PapermillExecutionError

    os.environ.update(environment)
    _note_verdicts_in(job.verdicts)
    report = _Report(job.label, alone)
    started = time.perf_counter()
    failure = ""
    _register_engine()
    try:
        job.output.parent.mkdir(parents=True, exist_ok=True)
        papermill.execute_notebook(
            str(job.source),
            str(job.output),
            parameters=dict(job.parameters),
            engine_name="qbench",
            kernel_name="python3",
            progress_bar=False,
            stdout_file=_Report(job.label, alone, messages=False),
            stderr_file=report,
            cwd=str(job.output.parent),
            report=report,
            start_timeout=PATIENCE,
            iopub_timeout=PATIENCE,
            extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
        )
    except PapermillExecutionError as error:
        failure = (
            f"{job.label}: cell {error.cell_index} failed ({_first_line(error.source)}) with "
            f"{error.ename}: {_plain(error.evalue)} "
            f"The partial notebook is {paths.shown(job.output)}."
        )
    except KeyboardInterrupt:
        # The kernel heard it too and ends; nobody waits for that, which asyncio would report.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        raise
    except Exception as error:  # the kernel died, the disk is full: name it, let the others go on
        failure = f"{job.label}: {type(error).__name__}: {_plain(str(error))}"
    seconds = time.perf_counter() - started
    report.close("failed" if failure else f"done in {seconds:.1f} s")
    return Outcome(job, seconds, failure)


def _note_verdicts_in(file: Path | None) -> None:
    if file is None:
        os.environ.pop(ledger.VARIABLE, None)
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("", encoding="utf-8")  # not what an earlier execution said
    os.environ[ledger.VARIABLE] = str(file.absolute())


def _register_engine() -> None:
    """papermill's own engine, telling `report` which cell runs."""
    from papermill.engines import NBClientEngine, papermill_engines

    class ReportingEngine(NBClientEngine):
        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **options: Any) -> Any:
            report, start = options.pop("report"), nb_man.cell_start
            code = [i for i, cell in enumerate(nb_man.nb.cells) if cell.cell_type == "code"]

            def cell_start(cell: Any, cell_index: int, **more: Any) -> None:
                if cell_index in code:
                    where = f"cell {code.index(cell_index) + 1}/{len(code)}"
                    report.say(f"{where}  {_first_line(cell.source)}", now=True)
                start(cell, cell_index, **more)

            nb_man.cell_start = cell_start
            return super().execute_managed_notebook(nb_man, kernel_name, **options)

    papermill_engines.register("qbench", ReportingEngine)


class _Report:
    """A file for a kernel's output; shows its latest line, labelled, now and then."""

    EVERY = 5.0  # seconds between lines of one cell's progress where lines cannot be overwritten

    def __init__(self, label: str, alone: bool, messages: bool = True) -> None:
        self.label = label
        self.messages = messages  # whether each line matters, or only that there are some
        self.overwrite = alone and sys.stderr.isatty()
        self.last = time.monotonic()

    def write(self, text: str) -> None:
        """Show whole lines; of a progress bar, which overwrites itself, a state now and then."""
        *whole, rest = text.split("\n")
        for line in whole:
            bar, _, last = line.rpartition("\r")
            self.say(last.strip(), keep=not bar and self.messages)
        self.say(rest.rpartition("\r")[2].strip())

    def flush(self) -> None:
        sys.stderr.flush()

    def say(self, line: str, now: bool = False, keep: bool = False) -> None:
        """Show `line`: at once if `now`, and so that the next one does not replace it if `keep`."""
        if not line:
            return
        if self.overwrite:
            width = os.get_terminal_size(sys.stderr.fileno()).columns - 1
            said = f"[{self.label}] {line}"
            sys.stderr.write(f"\r\x1b[K{said}\n" if keep else f"\r\x1b[K{said[:width]}")
        elif now or keep or time.monotonic() - self.last >= self.EVERY:
            sys.stderr.write(f"[{self.label}] {line}\n")
            self.last = time.monotonic()
        sys.stderr.flush()

    def close(self, line: str) -> None:
        self.say(line, keep=True)


def _first_line(source: str) -> str:
    lines = [line.strip() for line in source.splitlines()]
    code = [line for line in lines if line and not line.startswith(("#", "import ", "from "))]
    return (code or lines or [""])[0][:60]


def _plain(text: str) -> str:
    """One line without terminal colours, ending in a full stop."""
    line = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())
    return line if line.endswith((".", "!", "?")) else f"{line}."
