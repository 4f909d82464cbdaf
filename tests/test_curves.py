"""What a training draws for TensorBoard is what its table says, whatever the loop."""

import struct
import sys
from pathlib import Path

import pytest
import training_toy
from click.testing import CliRunner
from tensorboardX.proto.event_pb2 import Event

from qbench import cli, curves


def drawn(folder: Path) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """{run: {tag: [(epoch, value), ...]}} of all event files under `folder`."""
    found: dict = {}
    for file in sorted(folder.rglob("events*")):
        content, at = file.read_bytes(), 0
        while at < len(content):  # a record: length, its checksum, the event, its checksum
            (size,) = struct.unpack_from("<Q", content, at)
            event = Event.FromString(content[at + 12 : at + 12 + size])
            at += 16 + size
            for value in event.summary.value:
                run = found.setdefault(str(file.parent.relative_to(folder)), {})
                run.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv(curves.VARIABLE, str(tmp_path / "curves"))
    return tmp_path / "curves"


def test_curves_are_the_table(folder, tmp_path):
    file = tmp_path / "0123456789abcdef" / "state.pt"
    file.parent.mkdir()
    table = training_toy.train(epochs=3, checkpoint=file, title="a toy, W2A2")
    [(run, tags)] = drawn(folder).items()
    assert run == "a_toy_W2A2-01234567"
    assert tags.keys() == set(table.columns) - {"epoch"}
    for tag, points in tags.items():
        expected = list(zip(table["epoch"], table[tag], strict=True))
        assert points == [(epoch, pytest.approx(value)) for epoch, value in expected]


def test_an_interrupted_training_goes_on_in_its_run(folder, tmp_path, monkeypatch):
    file = tmp_path / "state.pt"
    with monkeypatch.context() as patch, pytest.raises(training_toy.Stop):
        training_toy.stop_after(patch, 2)
        training_toy.train(epochs=4, checkpoint=file)
    training_toy.train(epochs=4, checkpoint=file)
    [tags] = drawn(folder).values()
    assert sorted(epoch for epoch, _ in tags["valid_error"]) == [1, 2, 3, 4]


def test_several_trained_as_one_have_a_run_each(folder):
    with curves.of("stack") as draw:
        draw({"epoch": 1, "train_loss": [0.5, float("nan")], "valid_error": [10.0, 90.0]})
    found = drawn(folder)
    assert found.keys() == {"stack/1", "stack/2"}
    assert found["stack/2"] == {"valid_error": [(1, 90.0)]}  # what is not finite is left out


def test_nothing_is_written_unless_asked(tmp_path, monkeypatch):
    monkeypatch.delenv(curves.VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    training_toy.train(epochs=1)
    assert not list(tmp_path.iterdir())


def test_refused_before_any_work(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    command = ["run", "01", "--tensorboard"]
    said = CliRunner().invoke(cli.main, [*command, str(tmp_path / "file")])
    assert said.exit_code == 1
    assert "--tensorboard must be a folder that can be written" in said.output
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    said = CliRunner().invoke(cli.main, [*command, str(tmp_path)])
    assert said.exit_code == 1
    assert "qbench[tensorboard]" in said.output
