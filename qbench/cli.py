"""The `qbench` command. Commands import what they need when they run, so that --help is quick."""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import click

from qbench.errors import UserError


def _in_a_sentence(command: Callable[..., None]) -> Callable[..., None]:
    """Turn Ctrl-C and errors that are written for the user into sentences and an exit status."""

    @wraps(command)
    def wrapped(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except UserError as error:
            _fail(str(error), error.status)
        except KeyboardInterrupt:
            _fail("interrupted. What was done is stored: the same command goes on from there.", 130)

    return wrapped


def _fail(sentences: str, status: int) -> None:
    for line in sentences.splitlines():
        click.echo(f"qbench: {line}", err=True)
    sys.exit(status)


_jobs = click.option(
    "-j", "--jobs", default=2, show_default=True, type=click.IntRange(1), help="Chapters at a time."
)


def _elsewhere(command: Callable[..., None]) -> Callable[..., None]:
    """The options that send the parts of chapters elsewhere."""
    command = click.option(
        "--workers", type=click.IntRange(1), help="Or that many processes of this machine."
    )(command)
    said = "Send the parts of chapters to this Dask scheduler, such as tcp://host:8786."
    return click.option("--scheduler", metavar="ADDRESS", help=said)(command)


@contextmanager
def _cluster(scheduler: str | None, workers: int | None) -> Iterator[dict[str, str]]:
    """What kernels must know of the cluster that is asked for."""
    if not scheduler and not workers:
        yield {}
        return
    from qbench import cluster

    if scheduler and workers:
        raise cluster.ClusterError("--scheduler must be given without --workers: it has its own.")
    if scheduler:
        yield {cluster.VARIABLE: cluster.reachable(scheduler)}
    else:
        with cluster.local(workers) as address:
            yield {cluster.VARIABLE: address}


def _profile(default: str) -> Callable[[Callable], Callable]:
    # Not a list of the names: that is in `chapters`, which is too heavy to be imported for --help.
    said = "A named set of parameter values; `qbench chapters` shows them."
    return click.option(
        "--profile", default=default, show_default=True, metavar="PROFILE", help=said
    )


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="qbench")
def main() -> None:
    """Re-run the experiments of the book, build it, and look after its data and results."""
    for name in (
        "QBENCH_RESULTS",
        "QBENCH_DATA",
        "QBENCH_TENSORBOARD",
    ):  # kernels have another working directory
        if folder := os.environ.get(name):
            os.environ[name] = str(Path(folder).expanduser().absolute())


@main.command()
@click.argument("chapter", required=False)
@_in_a_sentence
def chapters(chapter: str | None) -> None:
    """List the chapters, or show one chapter's parameters and profiles."""
    from qbench import chapters as book
    from qbench import parameters

    for found in [book.find(chapter)] if chapter else book.all_chapters():
        click.secho(f"{found.name}  {found.title}", bold=True)
        for name, allowed, default, meaning in parameters.describe(found.name):
            click.echo(f"  {name} = {_typed(default)}\n      {meaning}; {allowed}")
        known = book.profiles(found)
        for profile, values in known.items():
            same = next(
                (p for p in book.SCALES if profile == "published" and known[p] == values), ""
            )
            said = "  ".join(f"-p {name} {_typed(value)}" for name, value in values.items())
            click.echo(f"  --profile {profile}: {same or said or 'the defaults above'}")
        click.echo()


@main.command()
@click.argument("chapters", nargs=-1, required=True, metavar="CHAPTER...")
@click.option(
    "-p", "explicit", nargs=2, multiple=True, metavar="NAME VALUE", help="Set a parameter."
)
@_profile("smoke")
@click.option("--recompute", is_flag=True, help="Compute stored results anew, and compare.")
@click.option("-o", "output", type=click.Path(path_type=Path), help="Where the notebook goes.")
@_elsewhere
@click.option(
    "--tensorboard", type=click.Path(path_type=Path), help="A folder for the curves of trainings."
)
@_jobs
@_in_a_sentence
def run(
    chapters: tuple[str, ...],
    explicit: tuple[tuple[str, str], ...],
    profile: str,
    recompute: bool,
    output: Path | None,
    scheduler: str | None,
    workers: int | None,
    tensorboard: Path | None,
    jobs: int,
) -> None:
    """Execute chapters with papermill; parameters are checked before any kernel starts."""
    from qbench import chapters as book
    from qbench import curves, execute, paths
    from qbench.parameters import ParameterError

    found = list(dict.fromkeys(book.find(text) for text in chapters))
    if output and len(found) > 1:
        raise ParameterError("-o takes one chapter at a time.")
    if repeated := {name for name, _ in explicit if [n for n, _ in explicit].count(name) > 1}:
        raise ParameterError(f"-p {min(repeated)} is given more than once.")
    work = [
        execute.Job(
            label=chapter.name,
            source=chapter.file,
            parameters=book.parameters(chapter, profile, dict(explicit)),
            output=(output or paths.BUILD / "runs" / f"{chapter.name}.ipynb").absolute(),
        )
        for chapter in found
    ]
    if output:
        _check_output(output)
    environment = {"QBENCH_RECOMPUTE": "1"} if recompute else {}
    if tensorboard:
        environment[curves.VARIABLE] = str(curves.check(tensorboard))
    with _cluster(scheduler, workers) as there:
        outcomes = execute.run_all(work, workers=jobs, environment=environment | there)
    for outcome in outcomes:
        if not outcome.failure:
            click.echo(paths.shown(outcome.job.output))
    failures = [outcome.failure for outcome in outcomes if outcome.failure]
    if recompute and (said := execute.recomputed(outcomes)):
        count = f"{len(said)} result{'s' * (len(said) != 1)} recomputed"
        differing = [line for line in said if not line.endswith("identical")]
        if differing:
            failures += [*differing, f"{count}, {len(differing)} not as stored before."]
        else:
            click.echo(f"qbench: {count}, all identical.", err=True)
    if failures:
        _fail("\n".join(failures), 1)


def _check_output(output: Path) -> None:
    """Raise `ParameterError` unless an executed notebook can be written to `output`."""
    from qbench import paths
    from qbench.parameters import ParameterError

    try:
        if output.is_dir():
            raise ParameterError(f"-o must name a notebook, and {str(output)!r} is a folder.")
        if output.suffix != ".ipynb":
            raise ParameterError(f"-o must name a notebook (.ipynb), not {str(output)!r}.")
        sources = paths.NOTEBOOKS.glob("*.ipynb")
        if output.exists() and any(output.samefile(source) for source in sources):
            raise ParameterError(f"-o must not overwrite a chapter's source, {str(output)!r}.")
        output.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(output if output.exists() else output.parent, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise ParameterError(f"-o {str(output)!r} cannot be written: {error.strerror}.") from None


@main.command()
@_profile("published")
@click.option("--recompute", is_flag=True, help="Compute every stored result anew.")
@_elsewhere
@click.option("--whole", is_flag=True, help="Send whole chapters there instead of their parts.")
@click.option("--pdf", is_flag=True, help="Print it too, as one PDF; needs Chromium.")
@_jobs
@_in_a_sentence
def book(
    profile: str,
    recompute: bool,
    scheduler: str | None,
    workers: int | None,
    whole: bool,
    pdf: bool,
    jobs: int,
) -> None:
    """Execute the chapters that changed, render the book, print the path of its first page."""
    from qbench import book as builder
    from qbench import cluster, paths, printing

    if whole and not (scheduler or workers):
        raise cluster.ClusterError(
            "--whole needs --scheduler or --workers: where to send chapters."
        )
    if pdf:
        printing.check()
    with _cluster(scheduler, workers) as there:
        address = there.pop(cluster.VARIABLE) if whole else None
        index = builder.build(
            profile=profile,
            workers=jobs,
            recompute=recompute,
            environment=there,
            scheduler=address,
        )
    click.echo(paths.shown(printing.pdf(index.parent) if pdf else index))


@main.command()
@click.argument("topic")
@click.option("--title", required=True, help="The page's heading.")
@click.option("--number", type=int, help="Default: the next one.")
@_in_a_sentence
def new(topic: str, title: str, number: int | None) -> None:
    """Make a chapter about TOPIC, such as grey_levels, from a template that runs."""
    from qbench import new_chapter, paths

    for file in new_chapter.create(topic, title, number=number):
        click.echo(paths.shown(file))


@main.group()
def data() -> None:
    """The data sets: list them, fetch them, check them."""


@data.command("list")
@_in_a_sentence
def data_list() -> None:
    """What there is, what is cached, where it comes from."""
    from qbench import data as sets

    click.echo(sets.catalogue().to_string(index=False))


@data.command("get")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--force", is_flag=True, help="Fetch again what is cached.")
@_in_a_sentence
def data_get(names: tuple[str, ...], force: bool) -> None:
    """Fetch data sets into the cache."""
    from qbench import data as sets

    for name in _known_sets(names):
        click.echo(f"{name}: {sets.get(name, force=force)}")


@data.command("verify")
@click.argument("names", nargs=-1, metavar="[NAME...]")
@_in_a_sentence
def data_verify(names: tuple[str, ...]) -> None:
    """Compare cached data sets (default: all that are cached) with their digests."""
    from qbench import data as sets

    listed = sets.catalogue()
    for name in _known_sets(names) or listed.loc[listed["cached"], "name"]:
        sets.verify(name)
        click.echo(f"{name}: as it should be")


@main.group()
def results() -> None:
    """The stored results: list them, show one, compute them again."""


@results.command("list")
@click.option("--method", default="", help="Only methods whose name contains this.")
@_in_a_sentence
def results_list(method: str) -> None:
    """One line a result: key, where, method, parameters, time."""
    from qbench import provenance, store

    faults: list[store.StoreError] = []
    for entry in store.entries(method=method, damaged=faults.append):
        where = "published" if entry.published else "local"
        said = " ".join(f"{k}={_typed(v)}" for k, v in entry.spec["parameters"].items())
        took = provenance.duration(entry.record["seconds"])
        click.echo(f"{entry.key[:12]}  {where:9}  {entry.spec['method']}  {said}  ({took})")
    if faults:
        _fail("\n".join(map(str, faults)), 1)


@results.command("show")
@click.argument("key")
@_in_a_sentence
def results_show(key: str) -> None:
    """Specification, provenance and table of the result whose key begins with KEY."""
    import yaml

    from qbench import store

    entry = store.lookup(key)
    click.echo(yaml.safe_dump(entry.record, sort_keys=False, allow_unicode=True))
    table = entry.table()
    for name in table:
        if table[name].dtype.kind == "O":
            table[name] = table[name].map(_sized)
    click.echo(table.to_string(index=False))


@results.command("verify")
@click.argument("keys", nargs=-1, metavar="[KEY...]")
@click.option("--sample", type=click.IntRange(1), help="Only so many, drawn at random.")
@click.option("--seed", default=0, show_default=True, help="Of that draw.")
@_in_a_sentence
def results_verify(keys: tuple[str, ...], sample: int | None, seed: int) -> None:
    """Compute stored results again (default: all but timings); status 1 if one differs."""
    import random

    from qbench import store

    chosen = [store.lookup(key) for key in keys] or list(filter(store.repeatable, store.entries()))
    if sample and sample < len(chosen):
        chosen = random.Random(seed).sample(chosen, sample)
    differing = 0
    for number, entry in enumerate(chosen, 1):
        said = store.recompute(entry)
        differing += said != "identical"
        click.echo(f"{number}/{len(chosen)}  {entry.key[:12]}  {entry.spec['method']}  {said}")
    if differing:
        _fail(f"{differing} of {len(chosen)} results differ from what is stored.", 1)


@results.command("publish")
@click.argument("keys", nargs=-1, metavar="[KEY...]")
@_in_a_sentence
def results_publish(keys: tuple[str, ...]) -> None:
    """Copy local results (default: all) to data/results/, which travels with git."""
    from qbench import paths, store

    chosen = [store.lookup(key) for key in keys] or list(store.entries(paths.local_results()))
    for entry in chosen:
        if not entry.published:
            click.echo(f"{entry.key[:12]}  {store.publish(entry).file.name}")


def _known_sets(names: tuple[str, ...]) -> list[str]:
    """`names`, once all of them are known; raises `UnknownDataSet` for the first that is not."""
    from qbench.data import specs

    return [specs.find(name).name for name in names]


def _sized(value: Any) -> Any:
    """The size of a file that a table holds; any other value as it is."""
    return f"{len(value):,} bytes" if isinstance(value, bytes) else value


def _typed(value: Any) -> str:
    """A value as one would type it behind -p."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
