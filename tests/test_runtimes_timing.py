"""Latency: the arithmetic with a clock of the test's own, the turns, and one process at a time."""

import gc
import itertools
import math
import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from filelock import FileLock, Timeout
from hypothesis import given
from hypothesis import strategies as st
from runtimes_toy import exported, refused

from qbench.runtimes import (
    Latency,
    RuntimesError,
    by_turns,
    distinguishable,
    latency,
    side_by_side,
    timing,
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return exported(tmp_path_factory.mktemp("toy"))


@pytest.fixture(autouse=True)
def lock(tmp_path, monkeypatch):
    """A lock of the test's own."""
    monkeypatch.setattr(timing, "lock_file", lambda: tmp_path / "cache" / "measuring.lock")
    return tmp_path / "cache" / "measuring.lock"


@pytest.fixture
def device(monkeypatch):
    """A device on which a file takes the nanoseconds that `took(file, number)` says.

    `log` has the file of every request, `loads` that of every compilation, `since` the number of
    requests since the last one, and a compilation takes `compiling` nanoseconds.
    """
    state = SimpleNamespace(now=0, log=[], took=lambda file, number: 10**6, during=lambda: None)
    state.loads, state.since, state.compiling = [], 0, 0

    def load(file, name, *, batch, threads):
        state.loads.append(file)
        state.since = 0
        state.now += state.compiling

        def infer(**_):
            state.during()
            state.since += 1
            state.now += state.took(file, state.log.count(file))
            state.log.append(file)

        return SimpleNamespace(
            request=SimpleNamespace(infer=infer, set_input_tensor=lambda tensor: None),
            image_shape=(1,),
            device=name,
            precision="float32",
            batch=batch,
            threads=threads,
        )

    clock = {"perf_counter_ns": lambda: state.now, "perf_counter": lambda: state.now / 1e9}
    monkeypatch.setattr(timing, "load", load)
    monkeypatch.setattr(timing, "time", SimpleNamespace(**clock))
    return state


def test_a_real_network(files):
    for file in files:
        found = latency(file, "cpu", rounds=5, per_round=20, threads=1, batch=2)
        assert 0 < found.fastest_ms <= found.low_ms <= found.median_ms <= found.high_ms
        assert len(found.rounds) == 5 and 15 <= found.samples <= 100
        assert found.median_ms == np.median(found.rounds)
        assert found.spread == (found.high_ms - found.low_ms) / found.median_ms
        assert (found.device, found.batch, found.threads) == ("CPU", 2, 1)
        assert math.isnan(found.waited) or found.waited >= 0


def test_a_real_network_compiled_for_every_round(files):
    found = by_turns({"onnx": files[0], "ir": files[1]}, rounds=3, per_round=5, fresh=True)
    for one in found.values():
        assert len(one.rounds) == 3 and one.samples == 15 and min(one.rounds) > 0


def test_several_real_networks(files):
    table = side_by_side(dict(zip(("onnx", "ir"), files, strict=True)), rounds=3, per_round=5)
    assert list(table["network"]) == ["onnx", "ir"] and (table["samples"] == 15).all()
    assert (table["low_ms"] <= table["median_ms"]).all()
    assert (table["median_ms"] <= table["high_ms"]).all()
    assert list(table["like"]) in (["ir", "onnx"], ["", ""])


def test_a_steady_device(device):
    found = latency("net", rounds=4, per_round=50, warm_up=7)
    assert found.rounds == (1.0,) * 4 and found.samples == 200 and found.spread == 0
    assert len(device.log) == 7 + 2 * 10 + 200, "two blocks show that it gets no quicker"


def test_a_cold_device_is_warmed_up(device):
    """The first hundred requests take longer, each a little less; none of them counts."""
    device.took = lambda file, number: 10**5 * (110 - min(number, 100))
    found = latency("net", per_round=10, seconds=60)
    assert found.rounds == (1.0,) * 9


def test_a_burst_in_one_round_does_not_count(device):
    warm = 20 + 20
    device.took = lambda file, number: 10**7 if warm + 200 <= number < warm + 300 else 10**6
    found = latency("net", rounds=9, per_round=100, seconds=10)
    assert sorted(found.rounds) == [1.0] * 8 + [10.0] and found.fastest_ms == 1.0
    assert found.median_ms == found.low_ms == found.high_ms == 1.0


@pytest.mark.parametrize(
    ("milliseconds", "samples"), [(0.01, 9 * 1000), (1, 9 * 112), (20, 9 * 6), (1000, 9 * 3)]
)
def test_the_time_limits_the_requests(device, milliseconds, samples):
    device.took = lambda file, number: int(milliseconds * 1e6)
    assert latency("net", warm_up=0, seconds=1).samples == samples


def test_on_a_busy_machine_the_fastest_request_is_one_that_ran_through(device):
    """Nine of ten requests are interrupted; those of the warm-up do not count."""
    device.took = lambda file, number: 10**5 if number < 7 or number % 10 == 0 else 10**7
    found = latency("net", rounds=3, per_round=20, warm_up=7, seconds=60)
    assert (found.median_ms, found.fastest_ms) == (10.0, 0.1)
    device.log.clear()
    device.took = lambda file, number: 10**5 if number < 7 else 10**7
    assert latency("net", rounds=3, per_round=20, warm_up=7, seconds=60).fastest_ms == 10.0


def test_networks_take_turns(device):
    found = by_turns({"a": "A", "b": "B"}, rounds=3, per_round=2, warm_up=0, seconds=1)
    turns = [file for file, _ in itertools.groupby(device.log)]
    assert turns == ["A", "B"] * 4, "once to warm up, and three rounds"
    assert [one.samples for one in found.values()] == [6, 6]


def test_drift_strikes_all_alike(device):
    """The machine slows down all the time: B, 2 % slower, is so in every round."""
    device.took = lambda file, number: int((1.02 if file == "B" else 1) * (10**6 + 500 * number))
    found = by_turns({"a": "A", "b": "B"}, per_round=100, warm_up=0, seconds=10)
    ratios = np.divide(found["b"].rounds, found["a"].rounds)
    assert np.allclose(ratios, 1.02, rtol=1e-3)


def test_rounds_share_a_compilation_or_have_one_each(device):
    """What a request takes depends on how many compilations there were."""
    device.took = lambda file, number: 10**6 + 1000 * len(device.loads)
    asked = {"files": {"a": "A", "b": "B"}, "rounds": 3, "per_round": 4, "warm_up": 1}
    assert [one.rounds for one in by_turns(**asked).values()] == [(1.002,) * 3] * 2
    assert device.loads == ["A", "B"]
    device.loads.clear()
    found = by_turns(**asked, fresh=True)
    assert device.loads == ["A", "B"] * 4, "and once to see that they can be loaded"
    assert found["a"].rounds == (1.003, 1.005, 1.007)
    assert found["b"].rounds == (1.004, 1.006, 1.008)
    assert latency("net", rounds=3, fresh=True).spread > 0 == latency("net", rounds=3).spread


def test_each_compilation_is_warmed_up_and_its_time_does_not_count(device):
    device.compiling = 10**10
    device.took = lambda file, number: 10**7 if device.since <= 7 else 10**6
    found = latency("net", rounds=3, per_round=10, warm_up=7, seconds=1, fresh=True)
    assert found.rounds == (1.0,) * 3 and found.fastest_ms == 1.0
    assert found.samples == 30, "there was time for all of them"


def test_the_garbage_collector_rests(device):
    enabled = []
    device.during = lambda: enabled.append(gc.isenabled())
    latency("net", rounds=1, per_round=1)
    assert gc.isenabled() and not any(enabled)


# What noise explains


def rounds(*medians: float) -> Latency:
    low, middle, high = np.quantile(medians, [0.25, 0.5, 0.75])
    return Latency(middle, low, high, min(medians), medians, 9, 0.0, "CPU", "float32", 1, 1)


def test_equal_networks_are_told_apart_in_6_of_100_cases():
    """Every order in which two times nine rounds may come out, as the docstring counts them."""
    first = np.array(list(itertools.combinations(range(18), 9)))
    others = np.ones((len(first), 18), dtype=bool)
    np.put_along_axis(others, first, False, axis=1)
    second = np.nonzero(others)[1].reshape(-1, 9)
    (low, high), (low2, high2) = (np.quantile(x, [0.25, 0.75], axis=1) for x in (first, second))
    apart = int(((high < low2) | (high2 < low)).sum())
    assert (apart, len(first)) == (2 * 1378, 48620)


@given(st.lists(st.floats(0.1, 10), min_size=9, max_size=9), st.floats(0.5, 2))
def test_distinguishable_is_symmetric_and_needs_a_difference(medians, factor):
    a, b = rounds(*medians), rounds(*(factor * one for one in medians))
    assert not distinguishable(a, a)
    assert distinguishable(a, b) == distinguishable(b, a)
    assert distinguishable(a, replace(a, low_ms=a.high_ms * 1.01, high_ms=a.high_ms * 1.02))


def test_the_table_names_who_is_alike(monkeypatch):
    found = {
        "a": rounds(1.0, 1.1, 1.2, 1.3),
        "b": rounds(1.1, 1.2, 1.3, 1.4),
        "c": rounds(1.25, 1.3, 1.35, 1.45),
        "d": rounds(2.0, 2.1, 2.2, 2.3),
    }
    monkeypatch.setattr(timing, "by_turns", lambda files, device, **how: found)
    table = side_by_side(dict.fromkeys(found)).set_index("network")
    assert table["like"].to_dict() == {"a": "b", "b": "a, c", "c": "b", "d": ""}


# How long it waited for a processor


def test_the_thread_that_waited_longest_counts():
    before, after = {"1": 5, "2": 10, "3": 7}, {"1": 6, "2": 50, "4": 1000}
    assert timing.longest_wait(before, after) == 40
    assert math.isnan(timing.longest_wait({}, {}))


def test_waiting_is_a_share_of_the_rounds(device, monkeypatch):
    monkeypatch.setattr(timing, "queued", lambda: {"main": device.now // 4})
    assert latency("net", rounds=3, per_round=8, seconds=1).waited == 0.25
    monkeypatch.setattr(timing, "queued", lambda: {})
    assert math.isnan(latency("net", rounds=3, per_round=8, seconds=1).waited)


def test_a_system_that_does_not_tell_is_no_error(monkeypatch):
    monkeypatch.setattr(timing, "Path", lambda name: SimpleNamespace(iterdir=no_such_folder))
    assert timing.queued() == {}


def no_such_folder():
    raise FileNotFoundError


# One process at a time


def is_free(lock) -> bool:
    """Whether another thread, as another process would, gets the lock."""
    free = []

    def ask():
        try:
            with FileLock(lock).acquire(timeout=0):
                free.append(True)
        except Timeout:
            free.append(False)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    return free[0]


def test_the_lock_is_held_while_measuring(device, lock):
    seen = []
    device.during = lambda: seen or seen.append(is_free(lock))
    latency("net", rounds=1, per_round=1)
    assert seen == [False] and is_free(lock)


def test_the_lock_is_released_after_an_error(device, lock):
    device.during = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        latency("net")
    assert is_free(lock) and gc.isenabled()


def test_a_second_measurement_waits(device, lock, monkeypatch, capsys):
    monkeypatch.setattr(timing, "PATIENCE", 0.01)
    lock.parent.mkdir()
    thread = threading.Thread(target=lambda: latency("net", rounds=1, per_round=1))
    with FileLock(lock):
        thread.start()
        thread.join(0.3)
        assert thread.is_alive() and device.log == []
    thread.join(30)
    assert not thread.is_alive() and device.log
    assert "another process measures a latency, waiting" in capsys.readouterr().err


def test_a_lock_that_cannot_be_written(device, lock):
    lock.parent.write_text("not a folder")
    assert "measuring.lock cannot be locked: " in refused(lambda: latency("net"))


# What is refused


@pytest.mark.parametrize("name", ["rounds", "per_round", "batch"])
@pytest.mark.parametrize("bad", [0, -1, 2.0, None, True])
def test_numbers_that_cannot_be(device, name, bad):
    said = refused(lambda: latency("net", **{name: bad}))
    assert said == f"{name} must be a whole number of at least 1, not {bad!r}."
    assert device.log == []


@pytest.mark.parametrize("bad", [0, -1.0, math.inf, math.nan, "1", None])
def test_a_time_that_cannot_be(device, bad):
    said = refused(lambda: latency("net", seconds=bad))
    assert said == f"seconds must be a positive finite number, not {bad!r}."


@pytest.mark.parametrize("bad", [1, None, "yes"])
def test_fresh_is_true_or_false(device, bad):
    said = refused(lambda: latency("net", fresh=bad))
    assert said == f"fresh must be True or False, not {bad!r}." and not device.loads


def test_nothing_to_measure():
    assert refused(lambda: by_turns({})) == "files must name at least one network, and names none."
    with pytest.raises(RuntimesError, match="unknown device 'TPU'"):
        latency("net.onnx", "TPU")
