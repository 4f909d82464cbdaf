"""Files of others, damaged or malicious: the right content, or a clear sentence."""

import gzip
import io
import json
import tarfile
import tracemalloc

import numpy as np
import pytest
import test_data_decoders as formats
from faults_toy import noted
from hypothesis import given, settings
from hypothesis import strategies as st

from qbench.data import filling
from qbench.data.decoders import decode, read_members
from qbench.data.errors import Damaged

RIGHT = "the right images, or a clear sentence"
many = settings(max_examples=200, deadline=None, database=None)
anywhere = given(
    which=st.integers(0, 99), at=st.floats(0, 1, exclude_max=True), flip=st.integers(0, 255)
)


def sources() -> dict[str, tuple]:
    """Of every format that a data set comes in: decoder, files and size."""
    archive, _ = formats.cifar10_archive()
    images, labels = formats.colour(6, 10)
    digits = "\n".join(f"{i},{255 - i},{i % 10}" for i in range(30)).encode()
    grey = np.arange(36, dtype=np.uint8).reshape(9, 2, 2)
    idx = {
        "train_images": (gzip.compress(formats.idx(grey[:6]), mtime=0),),
        "train_labels": (formats.idx(np.arange(6)),),
        "test_images": (formats.idx(grey[6:]),),
        "test_labels": (gzip.compress(formats.idx(np.arange(3)), mtime=0),),
    }
    size = [8, 8, 3]
    return {
        "idx": (idx, formats.small("mnist", 6, 3, [2, 2])),
        "cifar-png": (formats.png_files(images, labels), formats.small("cifar10", 6, 3, size)),
        "cifar10-archive": ({"archive": (archive,)}, formats.small("cifar10", 20, 4, size)),
        "digits-csv": ({"rows": (gzip.compress(digits, mtime=0),)}, formats.csv_spec()),
    }


@pytest.mark.parametrize("decoder", ["idx", "cifar-png", "cifar10-archive", "digits-csv"])
def test_a_source_damaged_anywhere(decoder):
    """Cut short (`flip` 0) or with one byte changed; its digests judge what can be decoded."""
    from dataclasses import replace

    files, spec = sources()[decoder]
    whole, outcomes = decode(decoder, files, spec), []
    spec = replace(spec, sha256={name: filling.digest(array) for name, array in whole.items()})
    places = [(name, number) for name, parts in files.items() for number in range(len(parts))]

    @many
    @anywhere
    def once(which, at, flip):
        name, number = places[which % len(places)]
        content = files[name][number]
        place = int(at * len(content))
        changed = bytes([content[place] ^ flip]) + content[place + 1 :] if flip else b""
        parts = list(files[name])
        parts[number] = content[:place] + changed
        try:
            arrays = decode(decoder, files | {name: tuple(parts)}, spec)
            filling._check(arrays, spec)
            assert formats.same(arrays, whole)
            outcomes.append("right")
        except Damaged as error:
            assert "\n" not in str(error)
            outcomes.append("refused")

    once()
    assert "refused" in outcomes
    noted(f"a data set's source ({decoder}) is cut short or a byte of it is changed",
          "at random bytes", len(outcomes), RIGHT)  # fmt: skip


def archive_with(name: str, content: bytes = b"", **how: object) -> bytes:
    """A gzipped tar archive of one member; `how` sets attributes of its header."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        for attribute, value in how.items():
            setattr(member, attribute, value)
        tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def unlike_its_size(kind: bytes, size: int) -> bytes:
    """An archive that begins with a header of a `kind` whose content is `size` zeros."""
    header = tarfile.TarInfo("x")
    header.type, header.size = kind, size
    return gzip.compress(header.tobuf(tarfile.USTAR_FORMAT) + bytes(size))


def test_archives_that_would_write_elsewhere_or_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    links = {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}
    elsewhere = [
        archive_with("../labels", b"1"),
        archive_with("/labels", b"1"),
        archive_with("labels", **links),
        archive_with("labels", **links | {"type": tarfile.LNKTYPE}),
        archive_with("labels", type=tarfile.CHRTYPE),
        archive_with("labels", type=tarfile.DIRTYPE),
    ]
    large = 40 * 2**20
    bombs = [
        archive_with("labels", bytes(large)),
        archive_with("others", bytes(large)),
        *(unlike_its_size(kind, large) for kind in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME)),
    ]
    assert max(map(len, bombs)) < 10**5
    tracemalloc.start()
    for archive in [*elsewhere, *bombs]:
        with pytest.raises(Damaged):
            read_members(archive, ["labels"], 1000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 2**20
    assert list(tmp_path.iterdir()) == [], "nothing is ever written"
    noted("an archive names paths outside, links or devices", "in the place of a data set's source",
          len(elsewhere), "clear sentence, nothing is written")  # fmt: skip
    noted("an archive of less than 0.1 MB unpacks to 42 MB", "in the place of a data set's source",
          len(bombs), "clear sentence, before it is unpacked")  # fmt: skip


def test_a_network_that_names_files_outside_is_not_read(tmp_path):
    """An ONNX file holds no code, but may name a path for its weights."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from qbench.runtimes import RuntimesError
    from qbench.runtimes.onnx_runtime import session
    from qbench.runtimes.openvino import read

    helper, real = onnx.helper, onnx.TensorProto.FLOAT
    (tmp_path / "secret").write_bytes(bytes(16))
    file, tried = tmp_path / "deep" / "network.onnx", 0
    file.parent.mkdir()

    def network(place: str | None, within: str) -> bytes:
        weights = helper.make_tensor("w", real, [4], np.ones(4, np.float32).tobytes(), raw=True)
        if place is not None:
            weights.ClearField("raw_data")
            weights.data_location = onnx.TensorProto.EXTERNAL
            weights.external_data.add(key="location", value=place)
        values = [helper.make_tensor_value_info(name, real, [1, 4]) for name in "xy"]
        nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
        if within == "node":
            nodes.insert(0, helper.make_node("Constant", [], ["w"], value=weights))
        stored = [weights] if within == "graph" else []
        graph = helper.make_graph(nodes, "g", values[:1], values[1:], stored)
        opset = [helper.make_opsetid("", 17)]
        return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()

    for within in ("graph", "node"):
        file.write_bytes(network(None, within))
        assert session(file).run(None, {"x": np.zeros((1, 4), np.float32)})[0].tolist() == [
            [1.0] * 4
        ]
        for place in ("../secret", str(tmp_path / "secret"), "secret", "/etc/passwd"):
            file.write_bytes(network(place, within))
            for reader in (session, read):
                with pytest.raises(RuntimesError, match="keeps numbers in other files"):
                    reader(file)
                tried += 1
    noted("an ONNX file names other files for its weights", "paths inside and outside its folder",
          tried, "clear sentence, nothing is read there")  # fmt: skip


def test_a_network_damaged_anywhere(tmp_path):
    """It runs or is refused; whether it is the one that was stored, its result's digest tells."""
    pytest.importorskip("onnxruntime")
    from qbench.runtimes import RuntimesError, onnx_logits

    onnx = pytest.importorskip("onnx")
    helper, real = onnx.helper, onnx.TensorProto.FLOAT
    rng, file, outcomes = np.random.default_rng(0), tmp_path / "network.onnx", []
    stored = [
        onnx.numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name)
        for name, shape in (("a", (8, 4)), ("b", (4, 3)))
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "b"], ["y"]),
    ]
    takes = helper.make_tensor_value_info("x", real, ["n", 8])
    gives = helper.make_tensor_value_info("y", real, ["n", 3])
    graph = helper.make_graph(nodes, "g", [takes], [gives], stored)
    opset = [helper.make_opsetid("", 17)]
    whole = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()

    @many
    @anywhere
    def once(which, at, flip):
        place = int(at * len(whole))
        changed = bytes([whole[place] ^ flip]) + whole[place + 1 :] if flip else b""
        file.write_bytes(whole[:place] + changed)
        try:
            assert len(onnx_logits(file, np.ones((2, 8), np.float32))) > 0
            outcomes.append("runs")
        except RuntimesError as error:
            assert "\n" not in str(error) and str(error).endswith(".")
            outcomes.append("refused")

    once()
    assert set(outcomes) == {"runs", "refused"}
    noted("an ONNX file is cut short or a byte of it is changed", "at random bytes",
          len(outcomes), "it runs, or a clear sentence")  # fmt: skip


def test_junk_in_the_place_of_labels():
    """Any JSON where CIFAR's labels are to be."""
    files, spec = sources()["cifar-png"]
    plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
    junk = st.recursive(plain, lambda x: st.lists(x) | st.dictionaries(st.text(), x), max_leaves=8)
    tried = []

    @many
    @given(value=junk)
    def once(value):
        tried.append(value)
        if isinstance(value, list) and len(value) == 6 and all(type(v) is int for v in value):
            return
        with pytest.raises(Damaged):
            decode("cifar-png", files | {"train_labels": (json.dumps(value).encode(),)}, spec)

    once()
    noted("a data set's labels are any other JSON", "random values", len(tried), "clear sentence")
