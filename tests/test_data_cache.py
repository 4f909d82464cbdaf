"""The sources and the cache of data sets, on small synthetic data; nothing needs a network."""

import gzip
import shutil
import subprocess
import sys
from pathlib import Path

import data_home
import numpy as np
import pytest
from data_home import ARRAYS, PACKED, digests, entries

import qbench.data as data
from qbench.data import DataError, filling

REPOSITORY = Path(__file__).resolve().parents[1]
home = pytest.fixture(data_home.home)
filled = pytest.fixture(data_home.filled)
plain_http = pytest.fixture(data_home.plain_http)


# Sources


def test_system_package_comes_first(filled):
    assert entries(filled) == [".lock", data.get("toy").name]
    assert digests("toy") == filled.toy["sha256"]
    assert set(data.verify("toy")["stated_in"]) == {"datasets.yml"}
    assert data.verify("toy")["shape"].tolist() == [array.shape for array in ARRAYS.values()]


def test_npm(home, capfd):
    home.npm("shutil.copy(TGZ, [a for a in sys.argv if 'dest' in a][0].split('=')[1])")
    data.get("toy")
    assert np.array_equal(data.load("toy").test.labels, ARRAYS["test_labels"])
    shown = capfd.readouterr().err
    assert "toy: system package dataset-toy: it is not installed" in shown
    assert "npm pack toy@1.0.0 (1 MB) ..." in shown
    assert "decoding toy" in shown


def test_files_put_there_by_hand_may_be_unpacked(home):
    unpacked = {name.removesuffix(".gz"): gzip.decompress(v) for name, v in PACKED.items()}
    home.put(home.cache / "toy" / "files", unpacked)
    assert len(data.load("toy").train) == 100


def test_https(home, plain_http, capfd):
    plain_http(PACKED)
    data.get("toy")
    assert "100%" in capfd.readouterr().err
    assert len(data.verify("toy")) == 4


def test_second_mirror_is_asked_for_what_the_first_lacks(home, plain_http):
    some = dict(list(PACKED.items())[:2])
    first, second = plain_http(some, PACKED)
    data.get("toy", progress=False)
    assert first.asked == list(PACKED)[:3]
    assert second.asked == list(PACKED)[2:]


# A data set without digests


def test_first_fill_is_anchored_on_the_archive(home):
    home.put(home.cache / "colour" / "files", {"c.tar.gz": home.archive})
    where = data.get("colour", progress=False)
    assert set(data.verify("colour")["stated_in"]) == {"digests.json"}
    test = data.load("colour").test
    assert test.labels.tolist() == home.colour_arrays["test_labels"].tolist()
    (where / "digests.json").unlink()
    with pytest.raises(DataError, match=r"digests.json is missing or damaged: run `qbench data"):
        data.load("colour")
    data.get("colour", progress=False, force=True)
    data.verify("colour")


# The cache


def test_catalogue(filled):
    table = data.catalogue().set_index("name")
    assert table.loc["toy", "cached"] and not table.loc["colour", "cached"]
    assert table.loc["toy", "sources"] == "system package dataset-toy, HTTPS, npm package toy@1.0.0"
    assert table.loc["toy", "images"] == 150
    assert table.loc["toy", "where"] == str(data.get("toy"))
    assert table.loc["toy", "download_mb"] == 1


def test_verify_without_a_cache(home):
    with pytest.raises(DataError, match=r"toy is not in .*: run `qbench data get toy`\."):
        data.verify("toy")


def test_warm_cache_needs_no_source_and_no_writing(filled):
    shutil.rmtree(filled.system)
    home = filled.cache / "toy"
    (home / ".lock").unlink()
    home.chmod(0o555)
    assert len(data.load("toy").train) == 100
    assert not (home / ".lock").exists()
    home.chmod(0o755)


CHILD = """
import sys
from pathlib import Path
import qbench.data as data
from qbench.data import specs
specs.DATASETS_FILE = Path(sys.argv[1])
print(data.get("toy"), len(data.verify("toy")), flush=True)
"""


def test_two_processes_at_once_download_once(home):
    home.only("npm")
    log = home.root / "log"
    home.npm(f"open({str(log)!r}, 'a').write('x'); time.sleep(1); shutil.copy(TGZ, '.')")
    command = [sys.executable, "-c", CHILD, str(home.file)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    children = [subprocess.Popen(command, cwd=REPOSITORY, **pipes) for _ in range(2)]
    outputs = [child.communicate(timeout=60) for child in children]
    assert [child.returncode for child in children] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0] == f"{data.get('toy')} 4\n"
    assert log.read_text() == "x"


def test_waiting_for_another_process_ends(home, capfd):
    import filelock

    home.monkeypatch.setattr(filling, "LOCK_SECONDS", 0.1)
    (home.cache / "toy").mkdir(parents=True)
    with filelock.FileLock(home.cache / "toy" / ".lock"):
        with pytest.raises(DataError, match="another process has been filling .* for 0.1 s: wait"):
            data.get("toy")
    assert "waiting for another process to fill" in capfd.readouterr().err


def test_import_is_light():
    code = "import sys, qbench.data as d; d.catalogue(); d.epoch_order(5, 0, 0)\n"
    code += "sys.exit([m for m in ('torch', 'pooch', 'requests', 'PIL', 'mlxtend') "
    code += "if m in sys.modules] or None)"
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)
