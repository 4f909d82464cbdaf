"""Measuring speed: the same work for all, what the numbers become, processes that end, the page.

How fast anything is, no test says: `make bench` does.
"""

import subprocess
import sys

import pandas as pd
import pytest
from torch.utils.flop_counter import FlopCounterMode

from qbench import pages, speed, speed_tables, store
from qbench.speed_processes import SpeedError, worker

TINY = {"hidden": 8, "batch_size": 10, "images": 60, "rounds": 2, "seconds": 0.0}


@pytest.fixture
def processes(monkeypatch):
    """Those that were started."""
    started = []

    class Popen(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Popen)
    return started


def counted(unit) -> int:
    """Floating-point operations in the matrix products of one call."""
    unit()  # the fused sweep finishes a step at the beginning of the next
    with FlopCounterMode(display=False) as counter:
        unit()
    return counter.get_total_flops()


def test_the_operations_of_a_step_are_counted_as_by_hand():
    # 100 images, 1024-64-64-64-10: twice the first layer, three times the others
    layers = [1024 * 64, 64 * 64, 64 * 64, 64 * 10]
    by_hand = 2 * 100 * (2 * layers[0] + 3 * sum(layers[1:]))
    assert by_hand == 31_513_600
    assert round(1e9 * speed.gflop(1, hidden=64, batch_size=100)) == by_hand
    assert round(1e9 * speed.gflop(64, hidden=64, batch_size=100)) == 64 * by_hand


def test_every_contender_does_the_same_matrix_products():
    members = [[4, 2, 0], [1, 1, 0], [8, 8, 1]]
    same = {"hidden": 16, "batch_size": 12, "images": 60}
    one = round(1e9 * speed.gflop(1, hidden=16, batch_size=12))
    assert [counted(unit) for unit in speed._sequential(members, **same)] == [one] * 3
    assert [counted(unit) for unit in speed._sequential([[32, 32, 0]], **same)] == [one]
    assert [counted(unit) for unit in speed._fused(members, **same)] == [3 * one]


def test_a_square_product_is_counted_as_the_peak_is():
    assert [counted(unit) for unit in speed._square(32)] == [2 * 32**3]


def test_one_step_is_timed_for_every_contender_and_setting(processes):
    table = speed.sweep_step(weight_bits=(4,), act_bits=(1, 2), jit=(True,), threads=(1,), **TINY)
    assert list(table.columns) == ["contender", "jit", "threads", "round", "ms"]
    assert table["round"].tolist() == [1, 1, 1, 2, 2, 2]
    assert table["contender"].tolist() == [speed.BREVITAS, speed.PYTORCH, speed.FUSED] * 2
    assert table["jit"].iloc[0].startswith("on") and table["jit"].iloc[1:3].isna().all()
    assert (table["ms"] > 0).all()
    assert len(processes) == 3 and all(one.returncode is not None for one in processes)


def test_sizes_are_timed_beside_the_peak(processes, monkeypatch):
    monkeypatch.setattr(speed, "SIDES", (32, 64))
    table = speed.sweep_scaling(
        members=(1, 2, 65), hidden=(8, 16), members_wide=2, threads=1,
        **{name: value for name, value in TINY.items() if name != "hidden"},
    )  # fmt: skip
    sizes = [(1, 8), (2, 8), (65, 8), (2, 16)]
    assert list(zip(table["members"], table["hidden"], strict=True)) == sizes * 2
    assert (table[["ms", "gflop", "peak_gflops"]] > 0).all(axis=None)
    assert (table.groupby("round")["peak_gflops"].nunique() == 1).all()
    assert all(one.returncode is not None for one in processes)


def test_a_whole_epoch_is_timed():
    table = speed.sweep_epoch(
        dataset="mnist5k", weight_bits=(4,), act_bits=(2, 4), hidden=8, epochs=1, threads=1
    )
    (row,) = table.to_dict("records")
    assert (row["dataset"], row["members"], row["steps"]) == ("mnist5k", 2, 40)
    assert min(row["train_seconds"], row["evaluate_seconds"], row["peak_mib"]) > 0


def test_members_come_seed_after_seed():
    assert speed._first(2) == [[8, 8, 0], [8, 7, 0]]
    assert len(set(map(tuple, speed._first(256)))) == 256
    assert {seed for _, _, seed in speed._first(64)} == {0}
    assert {seed for _, _, seed in speed._first(256)} == {0, 1, 2, 3}


def test_a_process_that_fails_is_named_and_gone(processes):
    with (
        pytest.raises(SpeedError, match="ended with status 1"),
        worker(module=speed.__name__) as ask,
    ):
        ask("turn", work={"what": "nothing"}, threads=1, seconds=0)
    with (
        pytest.raises(SpeedError, match="ended with status -9"),
        worker(module=speed.__name__) as ask,
    ):
        processes[-1].kill()
        processes[-1].wait()
        ask("turn", work={"what": "square", "side": 8}, threads=1, seconds=0)
    with pytest.raises(KeyboardInterrupt), worker(module=speed.__name__):
        raise KeyboardInterrupt
    assert len(processes) == 3 and all(one.returncode is not None for one in processes)


def test_a_process_ends_when_nobody_asks_any_more():
    command = [sys.executable, "-m", "qbench.speed"]
    assert subprocess.run(command, stdin=subprocess.DEVNULL, timeout=300).returncode == 0


# What the measurements say


def step() -> pd.DataFrame:
    """Brevitas is at its best on one thread, the fused sweep on two; round 2 is twice as slow."""
    rows = []
    for number, slow in ((1, 1), (2, 2)):
        rows += [
            (speed.BREVITAS, "on", 1, number, 600.0 * slow),
            (speed.BREVITAS, "on", 2, number, 700.0 * slow),
            (speed.BREVITAS, "off", 1, number, 650.0 * slow),
            (speed.BREVITAS, "off", 2, number, 800.0 * slow),
            (speed.PYTORCH, None, 1, number, 90.0 * slow),
            (speed.PYTORCH, None, 2, number, 120.0 * slow),
            (speed.FUSED, None, 1, number, 40.0 * slow),
            (speed.FUSED, None, 2, number, 30.0 * slow),
        ]
    return pd.DataFrame(rows, columns=["contender", "jit", "threads", "round", "ms"])


def scaling() -> pd.DataFrame:
    rows = [
        (1, 64, 2, 1, 0.5, 5.0, 100.0),
        (64, 64, 2, 1, 2.0, 40.0, 100.0),
        (256, 64, 2, 1, 8.0, 168.0, 100.0),
        (4, 1024, 2, 1, 8.0, 100.0, 100.0),
    ]
    columns = ["members", "hidden", "threads", "round", "gflop", "ms", "peak_gflops"]
    return pd.DataFrame(rows, columns=columns)


def epoch() -> pd.DataFrame:
    row = {"dataset": "mnist", "members": 64, "steps": 500}
    row |= {"train_seconds": 15.0, "evaluate_seconds": 2.0, "peak_mib": 1000}
    return pd.DataFrame([row])


def test_ratios_are_taken_within_a_round():
    found = speed_tables.ratios(step()).set_index(["contender", "jit", "threads"])
    assert found["times"].tolist() == pytest.approx([20, 70 / 3, 65 / 3, 80 / 3, 3, 4, 4 / 3, 1])
    assert found["times_same_threads"].tolist() == pytest.approx(
        [15, 70 / 3, 16.25, 80 / 3, 2.25, 4, 1, 1]
    )
    assert found["best"].tolist() == [True, False, False, False, True, False, False, True]
    assert found["ms"].iloc[0] == 900
    assert (found["ms_low"].iloc[0], found["ms_high"].iloc[0]) == (750, 1050)


def test_costs_are_rates_and_shares_of_the_peak():
    found = speed_tables.costs(scaling())
    assert found["gflops"].tolist() == pytest.approx([100, 50, 8000 / 168, 80])
    assert found["peak_share"].tolist() == pytest.approx([100, 50, 8000 / 168, 80])
    assert found["ms_member"].tolist() == pytest.approx([5, 0.625, 0.65625, 25])


def test_a_full_sweep_is_extrapolated_with_the_evaluations_of_a_stored_run():
    # after epochs 1 to 10, 15, 20, …, 100
    assert speed_tables.minutes(epoch()) == pytest.approx((100 * 15 + 28 * 2) / 60)


def test_targets_are_compared_whatever_comes_out():
    found = speed_tables.targets(step(), scaling(), epoch())
    assert found["measured"].tolist() == ["20.0", "50 %", "25.9 min", "1.05 GB", "5 %"]
    assert found["reached"].tolist() == [True, False, False, True, True]


# The page


def publish(function, table) -> None:
    asked = store.spec(function)
    store.get_or_run(asked, lambda: table)
    store.publish(store.find(asked))


def test_the_page_says_when_nothing_is_published(results):
    said = pages.generated()["speed.md"]
    assert said.count("\n") == 1 and "make bench" in said
    store.get_or_run(store.spec(speed.sweep_epoch), epoch)
    assert pages._speed() == said, "a local result is not published"


def test_the_page_names_the_machine_and_shows_what_is_published(results):
    publish(speed.sweep_step, step())
    said = pages._speed()
    machine = store.find(store.spec(speed.sweep_step)).record["machine"]
    assert said.startswith(f"Measured on {machine['processor']}, {machine['cores']} cores")
    assert "all 64 configurations" in said and "750.0–1,050.0" in said
    assert said.count("<table") == 1

    publish(speed.sweep_scaling, scaling())
    publish(speed.sweep_epoch, epoch())
    said = pages._speed()
    assert said.count("<table") == 3 and "25.9 min" in said
    for share in ("48 %", "80 %"):
        assert share in said
