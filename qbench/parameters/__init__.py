"""The parameters of every chapter: names, types, ranges, meaning and smoke defaults.

One class a chapter, registered in `CHAPTERS` under its notebook's name. `check()` turns what a
reader typed (`"2,3,4"`, `"-1"`) into values, or into one sentence that says what is wrong and what
is allowed. The command line calls it before a kernel starts; every notebook calls it again in the
cell after its parameters, so that plain papermill and JupyterLab are guarded as well.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from qbench.errors import UserError, nearest

from .addnet import AddNet
from .choice import Choice
from .combining import Combining
from .comparison import Comparison
from .devices import Devices
from .distillation import DistillationSurface, Evolution
from .fpga import Assumed, FoldingThroughput, RadarCharts, Resources
from .mixed import MixedPrecision
from .pruning import FilterPruning
from .qkd import DenseNetQkd, PerceptronQkd
from .sparsity import SparseTernary
from .syq import SymmetricScales
from .training import BitWidthSweep, NumberFormats
from .types import Parameters, Refused, split

__all__ = [
    "CHAPTERS",
    "AddNet",
    "Assumed",
    "BitWidthSweep",
    "Choice",
    "Combining",
    "Comparison",
    "DenseNetQkd",
    "Devices",
    "DistillationSurface",
    "Evolution",
    "FilterPruning",
    "FoldingThroughput",
    "MixedPrecision",
    "NumberFormats",
    "ParameterError",
    "Parameters",
    "PerceptronQkd",
    "RadarCharts",
    "Resources",
    "SparseTernary",
    "SymmetricScales",
    "check",
    "describe",
]


class ParameterError(UserError, ValueError):
    """A parameter has an unknown name, a wrong type or an impossible value."""

    status = 2


CHAPTERS: dict[str, type[Parameters]] = {
    "01_number_formats": NumberFormats,
    "02_bit_width_sweep": BitWidthSweep,
    "03_resources": Resources,
    "04_radar_charts": RadarCharts,
    "05_folding": FoldingThroughput,
    "06_distillation": DistillationSurface,
    "07_evolution": Evolution,
    "08_qkd_perceptrons": PerceptronQkd,
    "09_qkd_densenets": DenseNetQkd,
    "10_sparse_ternary": SparseTernary,
    "11_syq": SymmetricScales,
    "12_addnet": AddNet,
    "13_pruning": FilterPruning,
    "14_devices": Devices,
    "15_comparison": Comparison,
    "16_choice": Choice,
    "17_mixed_precision": MixedPrecision,
    "18_combining": Combining,
}


def check(chapter: str, /, **values: Any) -> Parameters:
    """Return the validated parameters of `chapter` (a notebook's name such as `01_number_formats`).

    Lists may be given as text (`"2,3,4"`). Raises `ParameterError` with one sentence a fault.
    """
    model = CHAPTERS[chapter]
    faults = [_unknown(chapter, model, name) for name in values if name not in model.model_fields]
    if faults:
        raise ParameterError("\n".join(faults))
    try:
        return model(**values)
    except ValidationError as error:
        faults = {str(fault["loc"][0]): fault for fault in reversed(error.errors())}
        allowed = {name: text for name, text, _, _ in describe(chapter)}
        sentences = []
        for name in reversed(faults):
            value = values.get(name, model.model_fields[name].default)  # beside another's value
            said = faults[name].get("ctx", {}).get("error")
            near = _nearest(model, name, value)
            usual = f"{name} must be {allowed[name]}, not {_said(value)}{near}."
            sentences.append(f"{usual[:-1]}: {said}" if isinstance(said, Refused) else usual)
        raise ParameterError("\n".join(sentences)) from None


def describe(chapter: str) -> list[tuple[str, str, Any, str]]:
    """Rows of (name, what is allowed in words, smoke default, meaning), in the chapter's order."""
    model = CHAPTERS[chapter]
    schemas = model.model_json_schema()["properties"]
    return [
        (name, _allowed(schemas[name]), field.default, field.description or "")
        for name, field in model.model_fields.items()
    ]


def _allowed(schema: Mapping[str, Any]) -> str:
    """Say in words what a field's JSON schema allows."""
    if "allowed" in schema:
        return schema["allowed"]
    if {"type": "null"} in schema.get("anyOf", ()):
        [kind] = [one for one in schema["anyOf"] if one != {"type": "null"}]
        return f"{_allowed(kind)}, or None"
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    if schema.get("type") == "array":
        return f"a list of one or more without repeats, each {_allowed(schema['items'])}"
    kind = {"integer": "a whole number", "number": "a number", "boolean": "true or false"}
    words = {
        "minimum": "of at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "exclusiveMaximum": "below",
    }
    bounds = [f"{word} {schema[key]}" for key, word in words.items() if key in schema]
    return " ".join([kind.get(schema.get("type", ""), "text"), " and ".join(bounds)]).strip()


def _unknown(chapter: str, model: type[Parameters], name: str) -> str:
    hint = nearest(model.model_fields, name)
    return f"{chapter} has no parameter {name!r}{hint}; it has {', '.join(model.model_fields)}."


def _said(value: Any) -> str:
    """`repr(value)`, cut where it would fill a screen."""
    try:
        text = repr(value)
    except ValueError:  # an int of more digits than Python prints
        return "a number of thousands of digits"
    return text if len(text) <= 200 else f"{text[:200]}…"


def _nearest(model: type[Parameters], name: str, value: Any) -> str:
    """` (did you mean mnist?)` where a choice was misspelt."""
    schema = model.model_json_schema()["properties"][name]
    choices = [c for c in schema.get("items", schema).get("enum", []) if isinstance(c, str)]
    typed = split(value) if isinstance(value, str) else value if isinstance(value, list) else []
    wrong = [item for item in typed if isinstance(item, str) and item not in choices]
    return nearest(choices, *wrong)
