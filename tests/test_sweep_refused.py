"""What a sweep refuses: one sentence with the value and what is allowed, before any work."""

import numpy as np
import pytest
import sweep_toy
import torch
from store_toy import files
from sweep_toy import images, run, same

from qbench import checkpoints, data, store, sweep
from qbench.data.loading import Dataset, Split
from qbench.sweep import Member, SweepError, fitting, grid

home = pytest.fixture(sweep_toy.home, autouse=True)
NAN, INF = float("nan"), float("inf")
BITS = "must be a whole number from 1 to 8, or 32 for float32, not"
ONE = [Member(2, 2)]


def refused(ask) -> str:
    """The `SweepError` of `ask()`: one sentence on one line."""
    with pytest.raises(SweepError) as caught:
        ask()
    said = str(caught.value)
    assert "\n" not in said and said.endswith(".")
    return said


@pytest.fixture
def idle(monkeypatch, home):
    """Nothing may be made, loaded or written."""
    for owner, name in ((fitting, "Network"), (checkpoints, "load"), (data, "load")):
        monkeypatch.setattr(owner, name, None)
    yield
    assert not list(home.iterdir())


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ((0, 2), f"weight_bits {BITS} 0."),
        ((9, 2), f"weight_bits {BITS} 9."),
        ((16, 2), f"weight_bits {BITS} 16."),
        ((-1, 2), f"weight_bits {BITS} -1."),
        ((2, 33), f"act_bits {BITS} 33."),
        ((2.0, 2), f"weight_bits {BITS} 2.0."),
        ((2, 2.5), f"act_bits {BITS} 2.5."),
        ((2, NAN), f"act_bits {BITS} nan."),
        (("2", 2), f"weight_bits {BITS} '2'."),
        ((None, 2), f"weight_bits {BITS} None."),
        ((True, 2), f"weight_bits {BITS} True."),
        ((2, 2, -1), "seed must be a whole number from 0 to 2**31 - 1, not -1."),
        ((2, 2, 2**31), "seed must be a whole number from 0 to 2**31 - 1, not 2147483648."),
        ((2, 2, 0.0), "seed must be a whole number from 0 to 2**31 - 1, not 0.0."),
        ((2, 2, False), "seed must be a whole number from 0 to 2**31 - 1, not False."),
        ((2, 2, None), "seed must be a whole number from 0 to 2**31 - 1, not None."),
        ((2, 2, 0, NAN), "learning_rate must be a positive finite number, not nan."),
        ((2, 2, 0, INF), "learning_rate must be a positive finite number, not inf."),
        ((2, 2, 0, 0.0), "learning_rate must be a positive finite number, not 0.0."),
        ((2, 2, 0, -0.01), "learning_rate must be a positive finite number, not -0.01."),
        ((2, 2, 0, "0.01"), "learning_rate must be a positive finite number, not '0.01'."),
        ((2, 2, 0, True), "learning_rate must be a positive finite number, not True."),
        ((2, 2, 0, 0.01, 1), "dropout must be at least 0 and below 1, not 1."),
        ((2, 2, 0, 0.01, -0.1), "dropout must be at least 0 and below 1, not -0.1."),
        ((2, 2, 0, 0.01, NAN), "dropout must be at least 0 and below 1, not nan."),
        ((2, 2, 0, 0.01, None), "dropout must be at least 0 and below 1, not None."),
    ],
)
def test_a_member_that_cannot_be(fields, said):
    assert refused(lambda: Member(*fields)) == said


@pytest.mark.parametrize(
    ("lists", "said"),
    [
        (([], [2]), "weight_bits must name at least one value, not none."),
        (([2], ()), "act_bits must name at least one value, not none."),
        (([2], [2], []), "seeds must name at least one value, not none."),
        (([2, 3, 2], [2]), "weight_bits must not repeat a value, and has 2 twice."),
        (([2], [4, 4]), "act_bits must not repeat a value, and has 4 twice."),
        (([2], [2], [7, 7]), "seeds must not repeat a value, and has 7 twice."),
        (([2, 9], [2]), f"weight_bits {BITS} 9."),
        (([2], [2, 2.5]), f"act_bits {BITS} 2.5."),
        (([2], [2], [0, -3]), "seed must be a whole number from 0 to 2**31 - 1, not -3."),
    ],
)
def test_a_grid_of_nothing_of_repetitions_or_of_what_cannot_be(lists, said):
    assert refused(lambda: grid(*lists)) == said


def test_a_grid_takes_fields_that_all_share_and_refuses_those_too():
    members = grid([1, 2], range(3, 5), [0, 1], learning_rate=0.1, dropout=0.5)
    assert [(m.weight_bits, m.act_bits, m.seed) for m in members] == [
        *[(1, 3, 0), (1, 3, 1), (1, 4, 0), (1, 4, 1)],
        *[(2, 3, 0), (2, 3, 1), (2, 4, 0), (2, 4, 1)],
    ]
    assert {(m.learning_rate, m.dropout) for m in members} == {(0.1, 0.5)}
    assert refused(lambda: grid([1], [3], dropout=1.5)).endswith("below 1, not 1.5.")


WRONG = [
    (([],), {}, "a sweep needs at least one member, and the list is empty."),
    (([(2, 2)],), {}, "every member must be a sweep.Member, not (2, 2)."),
    (([*ONE, None],), {}, "every member must be a sweep.Member, not None."),
    (([*ONE, Member(1, 2), *ONE],), {}, "members must not repeat, and W2A2 seed 0 is there twice."),
    ((ONE,), {"epochs": 0}, "epochs must be a whole number of at least 1, not 0."),
    ((ONE,), {"epochs": 2.5}, "epochs must be a whole number of at least 1, not 2.5."),
    ((ONE,), {"epochs": "3"}, "epochs must be a whole number of at least 1, not '3'."),
    ((ONE,), {"epochs": True}, "epochs must be a whole number of at least 1, not True."),
    ((ONE,), {"hidden": 0}, "hidden must be a whole number of at least 1, not 0."),
    ((ONE,), {"hidden": 64.0}, "hidden must be a whole number of at least 1, not 64.0."),
    ((ONE,), {"batch_size": 1}, "batch_size must be a whole number of at least 2, not 1."),
    ((ONE,), {"batch_size": None}, "batch_size must be a whole number of at least 2, not None."),
]


@pytest.mark.parametrize(("members", "options", "said"), WRONG)
def test_a_sweep_that_cannot_be_trained(idle, home, members, options, said):
    assert refused(lambda: run(*members, images(), checkpoint=home / "work", **options)) == said


@pytest.mark.parametrize(("members", "options", "said"), WRONG)
def test_a_stored_sweep_that_cannot_be_trained(idle, members, options, said):
    assert refused(lambda: sweep.quant_mlps("mnist", *members, **options)) == said


@pytest.mark.parametrize(("members", "options", "said"), [one for one in WRONG if one[1]])
def test_a_single_result_that_cannot_be_trained(idle, members, options, said):
    asked = {"dataset": "mnist", "weight_bits": 2, "act_bits": 2} | options
    assert refused(lambda: sweep.quant_mlp(**asked)) == said
    assert refused(lambda: sweep.quant_mlp(**asked | {"act_bits": 9})) == f"act_bits {BITS} 9."


@pytest.mark.parametrize("epochs", [[4], [0], [1, 2, 7], [-1], [1.5], ["1"], [True], [None]])
def test_epochs_to_report_that_are_not_trained(idle, epochs):
    said = refused(lambda: run(ONE, images(), evaluate_at=epochs))
    wrong = epochs[-1]
    assert said == (
        f"evaluate_at must hold whole numbers from 1 to the 3 epochs trained, not {wrong!r}."
    )


def test_no_epoch_to_report(idle):
    said = refused(lambda: run(ONE, images(), evaluate_at=[]))
    assert said == "evaluate_at must name at least one epoch, or be None for every epoch."


def test_too_little_memory_for_a_single_member(idle):
    least = fitting.member_bytes(36, 16, 50)
    said = refused(lambda: run(ONE, images(), memory=least - 1))
    assert f"at least {least:,} bytes" in said and said.endswith(f"not {least - 1:,}.")


def test_just_enough_memory_trains_one_member_at_a_time():
    least = fitting.member_bytes(36, 16, 50)
    assert len(run(grid([2], [2, 3]), epochs=1, memory=least).networks) == 2


def changed(part: str, change) -> Dataset:
    """`images()` with one split changed."""
    toy = images()
    splits = {name: getattr(toy, name) for name in ("train", "valid", "test")}
    splits[part] = Split(change(splits[part].images.clone()), splits[part].labels)
    return Dataset("toy", toy.classes, **splits)


def one_pixel(value: float):
    def change(pixels: torch.Tensor) -> torch.Tensor:
        pixels[3, 5] = value
        return pixels

    return change


@pytest.mark.parametrize("part", ["train", "valid", "test"])
def test_images_that_are_not_flat(idle, part):
    said = refused(lambda: run(ONE, changed(part, lambda x: x.view(-1, 1, 6, 6))))
    shape = tuple(getattr(changed(part, lambda x: x.view(-1, 1, 6, 6)), part).images.shape)
    assert said == (f"images must be flat, (N, pixels), not {shape}: load them with flatten=True.")


@pytest.mark.parametrize("part", ["train", "valid", "test"])
@pytest.mark.parametrize(
    "change",
    [
        *[lambda x: x * 2 - 1, lambda x: x * 255, lambda x: (x - x.mean()) / x.std()],
        *[one_pixel(value) for value in (0.5, -1 / 255, 256 / 255, NAN, INF)],
    ],
)
def test_images_that_are_not_of_8_bits(idle, part, change):
    said = refused(lambda: run(ONE, changed(part, change)))
    assert said == 'images must have 8-bit levels in [0, 1]: load them with "unit".'


def test_a_single_image_to_train_with(idle):
    said = refused(lambda: run(ONE, images(1)))
    assert said == "batch norm needs at least 2 images to train with, and there is only 1."


# What is not refused


def test_numpy_numbers_are_numbers_and_one_network_is_one_result(home):
    """Of NumPy, of Python or whole: the same member, the same key, read from the store."""
    plain = Member(2, 3, 1, 1.0, 0.0)
    numbers = Member(np.int64(2), np.int8(3), np.uint16(1), np.float32(1), np.int64(0))
    assert numbers == plain and repr(numbers) == repr(plain) == repr(Member(2, 3, 1, 1, 0))
    first = sweep.quant_mlps("toy", [plain], epochs=1, hidden=16)
    sizes = {"epochs": np.int64(1), "hidden": np.int32(16), "batch_size": np.int64(100)}
    same(sweep.quant_mlps("toy", [numbers], **sizes), first)
    assert len(files(home / "local" / "sweep.quant_mlp")) == 2, "one JSON, one table"
    assert len(list(store.entries())) == 1
