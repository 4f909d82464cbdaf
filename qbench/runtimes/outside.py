"""What a network's file says of other files: nothing, or it is not read."""

from collections.abc import Iterator
from typing import Any

from .errors import RuntimesError, library


def refuse_outside(content: bytes, shown: str) -> None:
    """Raise `RuntimesError` for an ONNX network whose numbers are in other files.

    Such a file names a path, and a runtime would read whatever lies there. `shown` is what messages
    call it. What cannot be parsed is left to whoever reads it next.
    """
    onnx = library("onnx")
    try:
        model = onnx.load_model_from_string(content)
    except Exception:  # protocol buffers' parsers have no common class of errors
        return
    tensors = (one for graph in (model.graph, *model.functions) for one in _tensors(graph))
    if any(one.data_location == onnx.TensorProto.EXTERNAL for one in tensors):
        raise RuntimesError(f"{shown} keeps numbers in other files: it must hold all of them.")


def _tensors(graph: Any) -> Iterator[Any]:
    """Every tensor of a graph or a function, of its nodes and of the graphs within them."""
    yield from getattr(graph, "initializer", ())
    for sparse in getattr(graph, "sparse_initializer", ()):
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)
