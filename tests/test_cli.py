"""What a user types: good commands end in results, bad ones in a sentence and nothing else."""

import json
import os
import subprocess
import sys

import nbformat
import pytest
from click.testing import CliRunner

from qbench import cli, execute, paths, store
from qbench.execute import Job

TINY = ["-p", "weight_bits", "2", "-p", "act_bits", "2", "-p", "epochs", "1", "-p", "hidden", "8"]
TINY += ["-p", "baseline", "false"]
SOURCE = paths.NOTEBOOKS / "02_bit_width_sweep.ipynb"


def qbench(*arguments):
    return CliRunner().invoke(cli.main, arguments)


@pytest.fixture
def no_kernel(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a kernel was about to start")

    monkeypatch.setattr(execute, "run_all", refuse)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["02", "-p", "epochz", "3"], "no parameter 'epochz' (did you mean epochs?)"),
        (["02", "-p", "epochs", "-1"], "epochs must be a whole number of at least 1"),
        (["02", "-p", "weight_bits", "0"], "weight_bits must be"),
        (["02", "-p", "weight_bits", "2,2"], "without repeats"),
        (["02", "-p", "dataset", "mnits"], "(did you mean mnist?)"),
        (["02", "-p", "epochs", "1", "-p", "epochs", "2"], "-p epochs is given more than once"),
        (["01", "-p", "bits", "9"], "bits must be"),
        (["99"], "There is no chapter '99'"),
        (["bit_width_swep"], "did you mean bit_width_sweep?"),
        (["02", "--profile", "papr"], "profile must be one of smoke, laptop, paper, published"),
        (["01", "02", "-o", "x.ipynb"], "-o takes one chapter at a time"),
        (["02", "-o", "x.html"], "-o must name a notebook"),
        (["02", "-o", "/proc/nope/x.ipynb"], "-o '/proc/nope/x.ipynb' cannot be written: "),
        (["02", "-o", f"{__file__}/x.ipynb"], "cannot be written: "),
        (["02", "-o", f"/tmp/{'x' * 300}.ipynb"], "cannot be written: File name too long"),
        (["02", "-o", str(paths.NOTEBOOKS)], "is a folder"),
        (["02", "-o", str(SOURCE)], "must not overwrite a chapter's source"),
        (["01", "-o", str(SOURCE)], "must not overwrite a chapter's source"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_runs(arguments, said, no_kernel, results):
    done = qbench("run", *arguments)
    assert done.exit_code == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.output
    assert not results.exists()


def test_several_faults_are_several_sentences(no_kernel, results):
    done = qbench("run", "02", "-p", "epochs", "0", "-p", "dropout", "1")
    assert done.exit_code == 2
    assert [line.split()[1] for line in done.stderr.splitlines()] == ["epochs", "dropout"]


def test_folders_are_relative_to_where_the_user_typed(tmp_path, results, monkeypatch):
    seen = {}

    def run_all(jobs, **_):
        seen.update({name: os.environ[name] for name in ("QBENCH_RESULTS", "QBENCH_DATA")})
        return []

    monkeypatch.setattr(execute, "run_all", run_all)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QBENCH_RESULTS", "mine")
    monkeypatch.setenv("QBENCH_DATA", "../sets")
    assert qbench("run", "01", "-o", "new/out.ipynb").exit_code == 0
    assert seen == {"QBENCH_RESULTS": f"{tmp_path}/mine", "QBENCH_DATA": f"{tmp_path}/../sets"}


def test_a_chapter_runs_is_stored_and_is_recomputed_to_the_same_numbers(tmp_path, results):
    out = tmp_path / "new folder" / "out.ipynb"
    done = qbench("run", "02", *TINY, "-o", str(out))
    assert done.exit_code == 0, done.output
    assert "out.ipynb" in done.stdout
    notebook = nbformat.read(out, as_version=4)
    injected = [c for c in notebook.cells if "injected-parameters" in c.metadata.get("tags", [])]
    assert "weight_bits = [2]" in injected[0].source
    (entry,) = store.entries()
    assert entry.spec["parameters"]["hidden"] == 8
    first = entry.file.stat().st_mtime_ns

    assert qbench("run", "02", *TINY, "-o", str(out)).exit_code == 0
    assert entry.file.stat().st_mtime_ns == first, "the second run came from the store"

    assert "identical" in qbench("results", "verify", entry.key[:8]).stdout
    done = qbench("run", "02", *TINY, "--recompute", "-o", str(out))
    assert done.exit_code == 0
    assert done.stderr.splitlines()[-1] == "qbench: 1 result recomputed, all identical."
    (again,) = store.entries()
    assert again.file.stat().st_mtime_ns > first
    assert again.record["sha256"] == entry.record["sha256"]

    table = entry.table()
    altered = table.assign(test_error=table.test_error - 1)
    store.get_or_run(entry.spec, lambda: altered, recompute=True)
    done = qbench("run", "02", *TINY, "--recompute", "-o", str(out))
    assert done.exit_code == 1
    differs, count = done.stderr.splitlines()[-2:]
    assert differs.startswith("qbench: 02_bit_width_sweep: sweep.quant_mlp ")
    assert differs.endswith(": recomputed, differs: test_error by up to 1")
    assert count == "qbench: 1 result recomputed, 1 not as stored before."


def test_results_are_listed_shown_and_published(results, tmp_path):
    import pandas as pd

    spec = {"method": "training.quant_mlp", "version": 1, "parameters": {"dataset": "mnist5k"}}
    store.get_or_run(spec, lambda: pd.DataFrame({"epoch": [1], "test_error": [12.5]}))
    key = store.key(spec)
    assert f"{key[:12]}  local" in qbench("results", "list").stdout
    assert "12.5" in qbench("results", "show", key[:6]).stdout
    assert qbench("results", "show", "zz").exit_code == 1
    assert key[:12] in qbench("results", "publish").stdout
    assert len(list((tmp_path / "published").glob("*/*.json"))) == 1
    assert qbench("results", "publish").exit_code == 0, "publishing twice does no harm"


def test_files_in_a_result_are_shown_by_their_size(results):
    import pandas as pd

    spec = {"method": "training.toy", "version": 1, "parameters": {}}
    table = pd.DataFrame({"name": ["net"], "file": [b"\xff" * 1500], "sizes": [[8, 16]]})
    store.get_or_run(spec, lambda: table)
    row = qbench("results", "show", store.key(spec)).stdout.splitlines()[-1]
    assert "net" in row and "1,500 bytes" in row and "16]" in row and "xff" not in row


def test_the_list_goes_on_behind_a_damaged_result(results):
    import pandas as pd

    specs = [{"method": "training.toy", "version": v, "parameters": {}} for v in range(3)]
    for spec in specs:
        store.get_or_run(spec, lambda: pd.DataFrame({"n": [1]}))
    first, *others = sorted(map(store.key, specs))
    (results / "training.toy" / f"{first}.json").write_text("{")
    done = qbench("results", "list")
    assert done.exit_code == 1
    assert [line[:12] for line in done.stdout.splitlines()] == [key[:12] for key in others]
    (fault,) = done.stderr.splitlines()
    assert f"{first}.json is damaged" in fault
    for command in (["verify"], ["publish"], ["show", first]):
        assert f"{first}.json is damaged" in qbench("results", *command).stderr
    assert qbench("results", "show", others[0]).exit_code == 0  # which reads no other


def test_verify_fails_where_a_stored_number_is_not_what_a_run_gives(results):
    parameters = {"dataset": "mnist5k", "weight_bits": 2, "act_bits": 2, "epochs": 1, "hidden": 8}
    from qbench import sweep

    spec = store.spec(sweep.quant_mlp, **parameters)
    table = sweep.quant_mlp(**parameters)
    store.get_or_run(spec, lambda: table.assign(test_error=table.test_error - 1))
    done = qbench("results", "verify")
    assert done.exit_code == 1
    assert "differs: test_error by up to 1" in done.stdout


def test_data_commands():
    assert "fashion-mnist" in qbench("data", "list").stdout
    refused = qbench("data", "get", "mnist5k", "mnits")
    assert not refused.stdout, "nothing is fetched before every name is known"
    assert refused.exit_code == 2 and "did you mean mnist?" in refused.stderr
    assert qbench("data", "get", "mnist5k").exit_code == 0
    assert "mnist5k: as it should be" in qbench("data", "verify", "mnist5k").stdout


def test_chapters_shows_parameters_with_defaults_and_meaning():
    shown = qbench("chapters", "02").stdout
    assert "epochs = 2" in shown and "passes over the training images" in shown
    assert "--profile paper" in shown and "01_number_formats" not in shown


@pytest.fixture
def notebook(tmp_path):
    def make(name, *sources):
        cells = [nbformat.v4.new_code_cell(source) for source in sources]
        cells[0].metadata["tags"] = ["parameters"]
        book = nbformat.v4.new_notebook(cells=cells)
        book.metadata["kernelspec"] = {
            "name": "python3",
            "display_name": "Python 3",
            "language": "python",
        }
        nbformat.write(book, tmp_path / f"{name}.ipynb")
        return Job(name, tmp_path / f"{name}.ipynb", {"n": 2}, tmp_path / "out" / f"{name}.ipynb")

    return make


def test_failures_name_chapter_cell_error_and_notebook_and_stop_nothing_else(notebook, capfd):
    warn = "import sys\nprint('take note', file=sys.stderr)\nprint('five is', n + 3)"
    good = notebook("good", "n = 1", warn)
    bad = notebook("bad", "n = 1", "import os\n1 / (n - 2)", "print('never')")
    outcomes = execute.run_all([bad, good], workers=2)
    assert outcomes[1].failure == ""
    assert "five is 5" in good.output.read_text()
    said = outcomes[0].failure
    assert said.startswith("bad: cell 2 failed (1 / (n - 2)) with ZeroDivisionError: ")
    assert "bad.ipynb" in said and bad.output.exists()
    assert "never" not in json.dumps(nbformat.read(bad.output, as_version=4).cells[-1].outputs)
    progress = capfd.readouterr().err
    assert "[good] cell 2/3" in progress and "[good] take note" in progress
    assert "[bad] failed" in progress


def test_a_kernel_that_dies_is_a_sentence_too(notebook):
    (outcome,) = execute.run_all([notebook("dies", "n = 1", "import os\nos._exit(3)")])
    assert outcome.failure.startswith("dies: DeadKernelError")


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["run", "99"]])
def test_the_command_imports_nothing_heavy(arguments):
    code = (
        "import sys, click\nfrom qbench.cli import main\n"
        f"try: main({arguments!r})\nexcept SystemExit: pass\n"
        "print([m for m in ('torch', 'pandas', 'papermill', 'plotly') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
