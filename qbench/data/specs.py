"""What `data/datasets.yml` says: one `Spec` for each data set (`schema` checks the file)."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from qbench.errors import nearest

from .errors import DataError, UnknownDataSet, reason

DATASETS_FILE = Path(__file__).resolve().parents[2] / "data" / "datasets.yml"
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


@dataclass(frozen=True)
class Source:
    """One place a data set can come from."""

    kind: str  # one of schema.KINDS, or "by hand"
    decoder: str  # one of schema.DECODERS
    files: Mapping[str, tuple[str, ...]]  # file names, by what the decoder calls them
    package: str  # of Python, the system or npm (there NAME@VERSION)
    folder: str  # where a system package puts the files
    mirrors: tuple[str, ...]  # addresses, to which a file's name is added
    md5: Mapping[str, str]  # by file name
    size_mb: int  # of the download, in MB

    @property
    def names(self) -> list[str]:
        """All file names, in order."""
        return [name for names in self.files.values() for name in names]


@dataclass(frozen=True)
class Spec:
    """One data set: what its arrays must be and where they come from."""

    name: str
    title: str
    classes: tuple[str, ...]
    image_shape: tuple[int, ...]  # (H, W) or (H, W, 3)
    counts: Mapping[str, int]  # images in the cached parts: train, and test where there is one
    split: Mapping[str, int]  # images in the parts given to the reader: train, valid, test
    stratified: bool
    sha256: Mapping[str, str] | None  # None: recorded at the first fill
    sources: tuple[Source, ...]

    def shape(self, array: str) -> tuple[int, ...]:
        """Shape of one of `self.arrays`."""
        part, _, what = array.partition("_")
        return (self.counts[part], *(self.image_shape if what == "images" else ()))

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of the cached arrays."""
        return tuple(array for array in ARRAYS if array.partition("_")[0] in self.counts)

    @property
    def size_mb(self) -> int:
        """Size of the decoded arrays in MB, rounded up."""
        per_image = 8 + math.prod(self.image_shape)
        return 1 + sum(self.counts.values()) * per_image // 10**6

    @property
    def home(self) -> Path:
        """Where everything of this data set is kept."""
        return cache_root() / self.name

    @property
    def directory(self) -> Path:
        """Where the decoded arrays lie; another content has another directory."""
        if self.sha256 is None:
            content = "\n".join(str(sorted(source.md5.items())) for source in self.sources)
        else:
            content = "\n".join(self.sha256[array] for array in self.arrays)
        return self.home / hashlib.sha256(content.encode()).hexdigest()[:12]

    @property
    def files_by_hand(self) -> Path:
        """Folder where a reader may put the files of the HTTPS source."""
        return self.home / "files"


def cache_root() -> Path:
    """The cache: the environment variable `QBENCH_DATA`, else the user's cache directory."""
    if chosen := os.environ.get("QBENCH_DATA"):
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("qbench"))


def all_specs() -> dict[str, Spec]:
    """Every data set of `data/datasets.yml`, in its order.

    Raises `DataError` where the file is missing or does not say what it must.
    """
    try:
        text = DATASETS_FILE.read_text("utf-8")
    except FileNotFoundError:
        hint = "install qbench from its repository with `pip install -e .`"
        raise DataError(f"{DATASETS_FILE} is missing: {hint}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{DATASETS_FILE} cannot be read: {reason(error)}.") from error
    return dict(_parsed(text, DATASETS_FILE))


@lru_cache(maxsize=1)  # every training asks; the text is read anew, so a change is seen
def _parsed(text: str, file: Path) -> dict[str, Spec]:
    import yaml

    from .schema import read_specs

    try:
        content = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise DataError(f"{file} cannot be read: {reason(error)}.") from error
    return read_specs(content)


def find(name: str) -> Spec:
    """The specification of one data set; `UnknownDataSet`, a `ValueError`, for an unknown name."""
    specs = all_specs()
    if isinstance(name, str) and name in specs:
        return specs[name]
    hint = nearest(specs, name)
    raise UnknownDataSet(f"unknown data set {name!r}{hint}: the names are {', '.join(specs)}.")
