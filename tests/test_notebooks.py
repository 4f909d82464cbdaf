"""That the notebooks' checks can fail, and that the notebooks keep the rules of the house."""

import subprocess
import sys

import nbformat
import pytest

from qbench import chapters, paths
from qbench.parameters import CHAPTERS

MARK = "# NBVAL_CHECK_OUTPUT"
NAMES = sorted(CHAPTERS)


def cells(name):
    return nbformat.read(chapters.Chapter(name).file, as_version=4)


@pytest.mark.parametrize("name", NAMES)
def test_altering_one_digit_of_a_checked_table_fails(name, tmp_path):
    """The chapter up to its first checked cell: as it is it passes, with another digit it fails."""
    notebook = cells(name)
    checked = next(i for i, c in enumerate(notebook.cells) if c.source.startswith(MARK))
    notebook.cells = notebook.cells[: checked + 1]
    text = notebook.cells[-1].outputs[0]["text"]
    place = max(i for i, character in enumerate(text) if character.isdigit())
    digit = str((int(text[place]) + 1) % 10)
    for label, printed in {
        "as_is": text,
        "altered": text[:place] + digit + text[place + 1 :],
    }.items():
        notebook.cells[-1].outputs[0]["text"] = printed
        nbformat.write(notebook, tmp_path / f"{label}.ipynb")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval-lax"]
    run = {
        label: subprocess.run(
            [*command, "--nbval-current-env", "--nbval-cell-timeout=900", f"{label}.ipynb"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        for label in ("as_is", "altered")
    }
    assert run["as_is"].returncode == 0, run["as_is"].stdout
    assert run["altered"].returncode == 1 and "1 failed" in run["altered"].stdout


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_kept_in_checked_cells_alone(name):
    code = [cell for cell in cells(name).cells if cell.cell_type == "code"]
    checked = [cell for cell in code if cell.source.startswith(MARK)]
    assert checked, "nothing would be compared"
    for cell in code:
        # nbval compares no cell whose execution count is missing
        assert bool(cell.outputs) == bool(cell.execution_count) == (cell in checked), cell.source


@pytest.mark.parametrize("name", NAMES)
def test_a_chapter_has_its_sections(name):
    text = "\n".join(c.source for c in cells(name).cells if c.cell_type == "markdown")
    assert sum(line.startswith("# ") for line in text.splitlines()) == 1
    for heading in ("papers did", "Try it yourself", "Where it ran", "What we learnt"):
        assert any(heading in li for li in text.splitlines() if li.startswith("##")), heading
    assert f"qbench run {name[:2]} " in text


@pytest.mark.parametrize("name", NAMES)
def test_a_chapter_is_in_the_contents_on_the_front_page_and_in_the_readme(name):
    number = int(name[:2])
    assert f"- file: notebooks/{name}\n" in (paths.BOOK / "_toc.yml").read_text(encoding="utf-8")
    front = (paths.BOOK / "intro.md").read_text(encoding="utf-8")
    assert f"grid-item-card}} {number} · " in front and f":link: ../notebooks/{name}\n" in front
    readme = (paths.ROOT / "README.md").read_text(encoding="utf-8")
    assert f"\n| {number} " in readme
