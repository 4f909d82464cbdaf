"""Input that nobody trusts: parameters, results and checkpoints of others, in any shape."""

import ast
import hashlib
import io
import json
import pickle
import zipfile

import pytest
import torch
from faults_toy import line, noted
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from papermill.translators import PythonTranslator

from qbench import checkpoints, parameters, store
from qbench.parameters import CHAPTERS, ParameterError

many = settings(
    max_examples=300,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
CODE = ["__import__('os').system('id')", "1\nimport os", '"""', "'; x = 1 #", "{{x}}", "\x00", "%x"]
plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(CODE)
values = st.recursive(plain, lambda inner: st.lists(inner, max_size=3), max_leaves=4)
named = [(name, field) for name, model in CHAPTERS.items() for field in model.model_fields]


def test_no_parameter_becomes_code():
    """What is accepted is injected as literals, and what is not is a sentence."""
    accepted, tried = [], []

    @many
    @given(where=st.sampled_from(named), value=values)
    def once(where, value):
        chapter, field = where
        tried.append(value)
        try:
            checked = parameters.check(chapter, **{field: value}).model_dump()
        except ParameterError as error:
            assert str(error).startswith(f"{field} must be")
            return
        accepted.append(value)
        injected = ast.parse(PythonTranslator.codify(checked)).body
        assert all(isinstance(one, ast.Assign) for one in injected)
        found = {one.targets[0].id: ast.literal_eval(one.value) for one in injected}
        assert found == {name: _listed(one) for name, one in checked.items()}

    once()
    for chapter in CHAPTERS:
        defaults = parameters.check(chapter).model_dump()
        injected = ast.parse(PythonTranslator.codify(defaults)).body
        assert all(isinstance(one, ast.Assign) for one in injected)
    noted("a parameter holds code, or anything else", "random values of all chapters' parameters",
          len(tried), "injected as a literal, or a clear sentence")  # fmt: skip


def _listed(value):
    """Tuples as the lists that papermill makes of them."""
    return [_listed(one) for one in value] if isinstance(value, list | tuple) else value


def test_any_json_in_the_place_of_a_result(results):
    """No traceback and no other table; a record may lie about a date, not about numbers."""
    store.run(line, slope=3.0)
    entry, tried = store.find(store.spec(line, slope=3.0)), []
    record = json.loads(entry.file.read_text())
    keys = [(name,) for name in record] + [("spec", name) for name in record["spec"]]

    @many
    @given(path=st.sampled_from([*keys, ()]), value=values)
    def once(path, value):
        changed = json.loads(json.dumps(record))
        if not path:
            changed = value
        else:
            inner = changed
            for name in path[:-1]:
                inner = inner[name]
            inner[path[-1]] = value
        entry.file.write_text(json.dumps(changed))
        tried.append(path)
        try:
            assert store.run(line, slope=3.0).equals(line(slope=3.0))
            for found in store.entries():
                assert found.key == entry.key
        except store.StoreError as error:
            assert "is damaged" in str(error) and "\n" not in str(error)

    once()
    noted("a stored result is replaced by any other JSON", "random values in every place",
          len(tried), "the right result, or a clear sentence")  # fmt: skip


class Malice:
    """Calls something when it is unpickled."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('it was executed')",))


@pytest.mark.parametrize("digest", [True, False])
def test_a_pickle_in_the_place_of_a_checkpoint_is_not_executed(tmp_path, digest):
    """Also behind a digest that is right: anybody can make one."""
    buffer = io.BytesIO()
    torch.save({"epoch": Malice()}, buffer)
    for content in (pickle.dumps(Malice()), buffer.getvalue()):
        file = tmp_path / "state.pt"
        file.write_bytes((hashlib.sha256(content).digest() if digest else 32 * b"x") + content)
        assert checkpoints.load(file) is None
    noted("a checkpoint holds a pickle that runs code",
          "behind a right digest" if digest else "behind a wrong digest", 2,
          "nothing is executed, and training begins again")  # fmt: skip


def test_a_compressed_checkpoint_is_not_unpacked(tmp_path, monkeypatch):
    """100 MB of zeros behind a right digest, in a file of a thousandth of that."""
    plain, packed = io.BytesIO(), io.BytesIO()
    torch.save({"weights": torch.zeros(25 * 10**6)}, plain)
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for part in old.infolist():
            new.writestr(part.filename, old.read(part))
    assert len(packed.getvalue()) < 2e5
    twice = io.BytesIO(plain.getvalue())  # each part once more, without its content
    with zipfile.ZipFile(twice, "a") as archive:
        archive.filelist += archive.infolist()
        archive._didModify = True  # so that it writes its list anew
    assert len(twice.getvalue()) < 1.01 * len(plain.getvalue())
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was unpacked"))
    for content in (packed.getvalue(), twice.getvalue()):
        file = tmp_path / "state.pt"
        file.write_bytes(hashlib.sha256(content).digest() + content)
        assert checkpoints.load(file) is None
    noted("a checkpoint holds far more than its file", "compressed, and one part as several", 2,
          "nothing is unpacked, and training begins again")  # fmt: skip
