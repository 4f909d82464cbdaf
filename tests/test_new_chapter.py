"""The template becomes a chapter that works, in fewer than ten commands; and what is refused."""

import os
import shutil
import subprocess
import sys

import pytest

from qbench import new_chapter, paths

TITLE = "How many grey levels does a digit need?"
NAME = "99_grey_levels"
PYTEST = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
COMMANDS = (
    ["-m", "qbench", "new", "grey_levels", "--title", TITLE, "--number", "99"],
    ["-m", "qbench", "chapters", "99"],
    ["-m", "qbench", "run", "99", "-p", "levels", "2,4,8"],
    [*PYTEST, "tests/test_studies_grey_levels.py"],
    [*PYTEST, "tests/test_notebooks.py", "tests/test_parameters.py", "-k", NAME],
    ["-m", "ruff", "check", "."],
    ["-m", "ruff", "format", "--check", "."],
)


@pytest.fixture
def checkout(tmp_path):
    """What git would clone, without the results: a place to add a chapter to."""
    root = tmp_path / "checkout"
    unwanted = shutil.ignore_patterns(".*", "_build", "results", "__pycache__", "*.egg-info")
    shutil.copytree(paths.ROOT, root, ignore=unwanted)
    return root


def test_the_template_is_a_working_chapter_in_fewer_than_ten_commands(checkout, tmp_path):
    environment = os.environ | {
        "PYTHONPATH": str(checkout),
        "QBENCH_RESULTS": str(tmp_path / "results"),
    }
    assert len(COMMANDS) < 10
    for command in COMMANDS:
        done = subprocess.run(
            [sys.executable, *command],
            cwd=checkout,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    executed = (checkout / "_build" / "runs" / f"{NAME}.ipynb").read_text(encoding="utf-8")
    assert "levels have the lowest error" in executed
    assert not (paths.NOTEBOOKS / f"{NAME}.ipynb").exists()


@pytest.mark.parametrize(
    ("topic", "title", "number", "said"),
    [
        ("Grey Levels", TITLE, None, "the topic must be small letters .*, not 'Grey Levels'"),
        ("class", TITLE, None, "the topic must be"),
        ("../escape", TITLE, None, "the topic must be"),
        ("grey_levels", "", None, "the title must be one line"),
        ("grey_levels", 'a "title"', None, "the title must be one line"),
        ("grey_levels", TITLE, 4, "the number must be from 1 to 99 and none of 1, .*, not 4"),
        ("grey_levels", TITLE, 100, "the number must be from 1 to 99"),
        ("radar", TITLE, None, "radar.py is there already: take another topic"),
    ],
)
def test_what_cannot_be_a_chapter_is_a_sentence(topic, title, number, said):
    before = sorted(paths.NOTEBOOKS.iterdir())
    with pytest.raises(new_chapter.NewChapterError, match=said):
        new_chapter.create(topic, title, number=number)
    assert sorted(paths.NOTEBOOKS.iterdir()) == before


def test_a_file_without_a_place_for_the_entry_is_named_and_nothing_is_written(
    tmp_path, monkeypatch
):
    for file in ("qbench/parameters/__init__.py", "notebooks/profiles.yml", "book/_toc.yml"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(paths.ROOT / file, tmp_path / file)
    shutil.copy(paths.BOOK / "intro.md", tmp_path / "book")
    (tmp_path / "README.md").write_text("# no table of chapters\n")
    for name, folder in (("ROOT", ""), ("NOTEBOOKS", "notebooks"), ("BOOK", "book")):
        monkeypatch.setattr(paths, name, tmp_path / folder)
    with pytest.raises(new_chapter.NewChapterError, match="README.md has no chapter behind which"):
        new_chapter.create("grey_levels", TITLE)
    assert "grey_levels" not in (tmp_path / "book" / "_toc.yml").read_text()


def test_chapters_made_in_one_process_have_numbers_of_their_own(tmp_path, monkeypatch):
    entries = ("qbench/parameters/__init__.py", "notebooks/profiles.yml", "book/_toc.yml")
    for file in (*entries, "book/intro.md", "README.md", "qbench/studies/-", "tests/-"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        if not file.endswith("-"):
            shutil.copy(paths.ROOT / file, tmp_path / file)
    for name, folder in (("ROOT", ""), ("NOTEBOOKS", "notebooks"), ("BOOK", "book")):
        monkeypatch.setattr(paths, name, tmp_path / folder)
    first, second = (new_chapter.create(f"levels_{one}", TITLE)[0].name for one in "ab")
    assert int(second[:2]) == int(first[:2]) + 1
