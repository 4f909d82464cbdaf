"""Clocks that jump, and Ctrl-C: the right result, or a clear sentence."""

import os
import signal
import subprocess
import sys
import time

import pytest
from faults_toy import line, noted

from qbench import paths, store

DAY = 86_400


def test_time_stamps_from_another_century_change_no_answer(results):
    """What a clock that jumps leaves behind: files and folders newer than now, or far too old."""
    keys = []
    for number, jump in enumerate((0, 30_000 * DAY, -15_000 * DAY, 0.001, -0.001)):
        store.run(line, slope=float(number))
        keys.append(store.key(store.spec(line, slope=float(number))))
        for path in (*results.rglob("*"), results):
            os.utime(path, (time.time() + jump, time.time() + jump))
        for key in keys:
            assert store.lookup(key[:12]).key == store.lookup(key).key == key
        assert sorted(entry.key for entry in store.entries()) == sorted(keys)
        assert store.run(line, slope=float(number)).equals(line(slope=float(number)))
    noted("the clock jumps", "time stamps of files set to 1980, 2100 and now", 5, "right result")


def test_a_clock_that_goes_backwards_while_a_result_is_computed(results, monkeypatch):
    """Durations come from a clock that nobody can set."""
    now = time.time()
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: now - 400 * DAY)
        patch.setattr(time, "time_ns", lambda: int((now - 400 * DAY) * 1e9))
        assert store.run(line, slope=1.0, seconds=0.05).equals(line(slope=1.0))
    entry = store.find(store.spec(line, slope=1.0, seconds=0.05))
    assert 0.05 <= entry.record["seconds"] < 60
    assert store.lookup(entry.key[:8]).key == entry.key
    noted(
        "the clock jumps back while a result is computed",
        "a year, in this process",
        1,
        "right result",
    )


@pytest.mark.parametrize(
    ("where", "begun"),
    [((), "step"), (("--workers", "1"), "study.run")],
    ids=["here", "on a cluster"],
)
def test_ctrl_c_ends_a_run_with_a_sentence_and_leaves_no_process(tmp_path, where, begun):
    """As the terminal does it: SIGINT to every process of the command."""
    command = [sys.executable, "-m", "qbench", "run", "02", "-p", "epochs", "1000", *where]
    environment = {**os.environ, "QBENCH_RESULTS": str(tmp_path), "PYTHONPATH": str(paths.ROOT)}
    environment["QBENCH_WORKER"] = str(tmp_path / "worker")
    process = subprocess.Popen(
        [*command, "-o", str(tmp_path / "out.ipynb")],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Who starts the tests in the background starts them deaf to Ctrl-C, and so would this be.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        said = ""
        while begun not in said:  # the bar of a training, or the cell that sends them
            line = process.stderr.readline()
            assert line, said
            said += line
        while where and not [*tmp_path.glob("worker/*/unfinished")]:
            assert process.poll() is None
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        _, rest = process.communicate(timeout=240)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130, said + rest
    assert "interrupted. What was done is stored: the same command goes on" in rest
    assert "Traceback" not in said + rest
    told = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert str(tmp_path) not in told, "a kernel goes on without it"
    what = "of jobs on a cluster of this machine" if where else "of a training"
    noted(f"Ctrl-C in the middle {what}", "SIGINT", 1, "clear sentence, no process left")
