"""What all tests share: results of their own, nothing fetched from a network."""

import atexit
import os
import shutil
import tempfile

import pytest
from hypothesis import settings

from qbench import paths, printing

# No deadline: a busy machine is slow, and that is not what the properties are about.
settings.register_profile("qbench", deadline=None)
settings.load_profile("qbench")

# Set before anything imports qbench, and inherited by the kernels that nbval and papermill start.
# Each worker of pytest-xdist has its own folder, so that none depends on what another computed.
_results = tempfile.mkdtemp(prefix="qbench-results-")
atexit.register(shutil.rmtree, _results, ignore_errors=True)
os.environ["QBENCH_RESULTS"] = _results


# Two processes test at a time: with several threads each they would wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture
def results(tmp_path, monkeypatch):
    """An empty store: no local results and no published ones."""
    folder = tmp_path / "results"
    monkeypatch.setenv("QBENCH_RESULTS", str(folder))
    monkeypatch.setenv("QBENCH_RECOMPUTE", "")  # a run with --recompute sets it in this process
    monkeypatch.setattr(paths, "PUBLISHED", tmp_path / "published")
    return folder


@pytest.fixture
def count_of_threads():
    """Sets how many threads PyTorch computes with; as before when the test is done."""
    import torch

    from qbench.threads import same_after

    with same_after():
        yield torch.set_num_threads


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium; without it what needs it is skipped."""
    chromium = printing.chromium()
    if chromium is None:
        pytest.skip(f"{printing.MISSING} to test the pages")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()
