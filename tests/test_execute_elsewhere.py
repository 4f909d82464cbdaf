"""Whole chapters on a cluster: what comes back is what an execution here leaves."""

import os

import faults_toy
import nbformat
import pytest

from qbench import cluster, ledger, paths, store
from qbench.execute import Job, run_elsewhere

pytest.importorskip("distributed", reason="Dask is not installed")
v4 = nbformat.v4

GOOD = """
from qbench import ledger, paths, store
from faults_toy import line

print(store.run(line, slope=slope)["y"].sum())
ledger.claim("stewart2021", "a_claim", ours="1", verdict="trend")
paths.offered("good").mkdir(parents=True, exist_ok=True)
(paths.offered("good") / "offered.txt").write_text("for you")
"""
BAD = "raise ValueError('no such luck')"


def chapter(folder, name: str, source: str) -> Job:
    cells = [v4.new_code_cell("slope = 1.0", metadata={"tags": ["parameters"]})]
    notebook = v4.new_notebook(cells=[*cells, v4.new_code_cell(source.strip())])
    notebook.metadata["kernelspec"] = {"name": "python3", "language": "python"}
    nbformat.write(notebook, folder / f"{name}.source.ipynb")
    output, said = folder / "out" / f"{name}.ipynb", folder / "out" / f"{name}.jsonl"
    return Job(name, folder / f"{name}.source.ipynb", {"slope": 2.0}, output, said)


def test_notebook_verdicts_files_and_results_come_back_and_a_failure_is_a_sentence(
    results, tmp_path, monkeypatch
):
    monkeypatch.setenv("QBENCH_WORKER", str(tmp_path / "worker"))
    path = os.pathsep.join([str(paths.ROOT), str(faults_toy.HERE)])
    monkeypatch.setenv("PYTHONPATH", path)
    jobs = [chapter(tmp_path, "good", GOOD), chapter(tmp_path, "bad", BAD)]
    with cluster.local(2) as address:
        good, bad = run_elsewhere(jobs, scheduler=address)
    assert good.failure == "" and good.job is jobs[0] and good.seconds > 0
    executed = nbformat.read(good.job.output, as_version=4)
    assert executed.cells[-1].outputs[0].text == "12.0\n"
    assert [one["claim"] for one in ledger.read(good.job.verdicts)] == ["a_claim"]
    assert (paths.offered("good") / "offered.txt").read_text() == "for you"
    assert len(list(store.results(faults_toy.line))) == 1
    assert bad.failure.startswith("bad: cell ") and "no such luck" in bad.failure
    assert bad.failure.endswith(f"The partial notebook is {paths.shown(bad.job.output)}.")
    assert "no such luck" in bad.job.output.read_text(encoding="utf-8")
    assert cluster.address() is None and ledger.VARIABLE not in os.environ
