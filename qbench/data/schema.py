"""Check `data/datasets.yml` and make it into `Spec`s; the first thing wrong is a `DataError`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from pathlib import PurePosixPath
from typing import Any

from .errors import DataError
from .specs import ARRAYS, Source, Spec

FIRST_FILL = "first-fill"

# What each decoder needs: the names under `files`.
DECODERS: Mapping[str, frozenset[str]] = {
    "idx": frozenset(ARRAYS),
    "cifar-png": frozenset(ARRAYS),
    "cifar10-archive": frozenset({"archive"}),
    "cifar100-archive": frozenset({"archive"}),
    "digits-csv": frozenset({"rows"}),
}
# Decoders of which a name under `files` may have several files.
SEVERAL = ("cifar-png",)

# What each kind of source says beside `kind`, `decoder` and `files`.
KINDS: Mapping[str, frozenset[str]] = {
    "python": frozenset({"package"}),
    "system": frozenset({"package", "folder"}),
    "https": frozenset({"mirrors", "md5", "mb"}),
    "npm": frozenset({"package", "mb"}),
}


def read_specs(content: Any) -> dict[str, Spec]:
    """The data sets in a parsed `datasets.yml`, by name."""
    _keys(content, "the file", {"datasets"})
    _require(isinstance(content["datasets"], dict), "datasets", "a mapping of names to data sets")
    return {name: _spec(name, entry) for name, entry in content["datasets"].items()}


def _spec(name: Any, entry: Any) -> Spec:
    at = f"datasets.{name}"
    plain = isinstance(name, str) and re.fullmatch("[a-z0-9][a-z0-9-]*", name)
    _require(plain, at, "a name of small letters, digits and hyphens")
    keys = "title classes image_shape train_images test_images split sha256 sources"
    _keys(entry, at, set(keys.split()))

    _require(_text(entry["title"]), f"{at}.title", "text")
    classes, shape = entry["classes"], entry["image_shape"]
    distinct = _texts(classes) and len(classes) == len(set(classes)) >= 2
    _require(distinct, f"{at}.classes", "a list of two or more different names")
    sides = isinstance(shape, list) and all(map(_count, shape))
    sides = sides and (len(shape) == 2 or (len(shape) == 3 and shape[2] == 3))
    _require(sides, f"{at}.image_shape", "[height, width] or [height, width, 3]")

    train, test = entry["train_images"], entry["test_images"]
    _require(_count(train), f"{at}.train_images", "a positive whole number")
    _require(test == 0 or _count(test), f"{at}.test_images", "0 or a positive whole number")
    counts = {"train": train} | ({"test": test} if test else {})
    split, stratified = _split(f"{at}.split", entry["split"], train, test, len(classes))

    arrays = {array for array in ARRAYS if array.partition("_")[0] in counts}
    sha256, known = entry["sha256"], entry["sha256"] != FIRST_FILL
    wanted = f"{FIRST_FILL!r} or 64 hexadecimal digits for each of {', '.join(sorted(arrays))}"
    _require(not known or _digests(sha256, arrays, 64), f"{at}.sha256", wanted)

    _require(isinstance(entry["sources"], list) and entry["sources"], f"{at}.sources", "a list")
    sources = tuple(_source(f"{at}.sources[{i}]", s) for i, s in enumerate(entry["sources"]))
    anchored = known or all(source.md5 for source in sources)
    _require(anchored, f"{at}.sources", "of kind https alone, as sha256 states no digests")
    return Spec(
        name=name,
        title=entry["title"],
        classes=tuple(classes),
        image_shape=tuple(shape),
        counts=counts,
        split=split,
        stratified=stratified,
        sha256=dict(sha256) if known else None,
        sources=sources,
    )


def _split(at: str, split: Any, train: int, test: int, classes: int) -> tuple[dict, bool]:
    _keys(split, at, {"train", "valid", "test"}, {"stratified"})
    parts = {part: split[part] for part in ("train", "valid", "test")}
    _require(all(map(_count, parts.values())), at, "positive whole numbers")
    divided = parts["train"] + parts["valid"] + (0 if test else parts["test"])
    adds_up = divided == train and (not test or parts["test"] == test)
    _require(adds_up, at, "numbers that add up to train_images and test_images")
    stratified = split.get("stratified", False)
    _require(isinstance(stratified, bool), f"{at}.stratified", "true or false")
    even = not stratified or all(count % classes == 0 for count in parts.values())
    _require(even, at, "multiples of the number of classes, as it is stratified")
    return parts, stratified


def _source(at: str, entry: Any) -> Source:
    _require(isinstance(entry, dict), at, "a mapping")
    kind, decoder = entry.get("kind"), entry.get("decoder")
    _require(_text(kind) and kind in KINDS, f"{at}.kind", f"one of {', '.join(KINDS)}")
    known = _text(decoder) and decoder in DECODERS
    _require(known, f"{at}.decoder", f"one of {', '.join(DECODERS)}")
    _keys(entry, at, {"kind", "decoder", "files"} | KINDS[kind])

    files = entry["files"]
    _keys(files, f"{at}.files", DECODERS[decoder])
    files = {key: tuple(v) if isinstance(v, list) else (v,) for key, v in files.items()}
    relative = all(_texts(names) and all(map(_relative, names)) for names in files.values())
    _require(relative, f"{at}.files", "relative file names")
    single = decoder in SEVERAL or all(len(names) == 1 for names in files.values())
    _require(single, f"{at}.files", "one file name each")

    for key in {"package", "folder"} & KINDS[kind]:
        # A hyphen in front would make npm take a package's name for an option.
        _require(_text(entry[key]) and entry[key][0] != "-", f"{at}.{key}", "a name")
    if kind == "https":
        mirrors = entry["mirrors"]
        secure = _texts(mirrors) and all(re.match("https://[^/]+/", m) for m in mirrors)
        _require(secure, f"{at}.mirrors", "a list of addresses that begin with https://")
        names = {name for names in files.values() for name in names}
        wanted = "32 hexadecimal digits for each file"
        _require(_digests(entry["md5"], names, 32), f"{at}.md5", wanted)
    if "mb" in entry:
        _require(_count(entry["mb"]), f"{at}.mb", "a positive whole number")
    return Source(
        kind=kind,
        decoder=decoder,
        files=files,
        package=entry.get("package", ""),
        folder=entry.get("folder", ""),
        mirrors=tuple(entry.get("mirrors", ())),
        md5=entry.get("md5", {}),
        size_mb=entry.get("mb", 0),
    )


def _require(condition: Any, at: str, what: str) -> None:
    if not condition:
        raise DataError(f"datasets.yml: {at} must be {what}.")


def _keys(value: Any, at: str, required: Set[str], optional: Set[str] = frozenset()) -> None:
    wanted = f"a mapping with the keys {', '.join(sorted(required))}"
    _require(isinstance(value, dict) and required <= set(value) <= required | optional, at, wanted)


def _text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) > 0 and all(map(_text, value))


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _relative(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def _digests(value: Any, names: Set[str], digits: int) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == names
        and all(_text(d) and re.fullmatch(f"[0-9a-f]{{{digits}}}", d) for d in value.values())
    )
