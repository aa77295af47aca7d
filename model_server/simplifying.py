"""Makes an exported graph smaller without changing its answers. Pure: a model in, another out; needs onnx alone.

What transformers exports carries work that no image needs: gates whose weights are all zero, so that every image gets
the same factor, pools over the whole picture that are written as strided windows, masks that hide nothing. They cost
time, and they hide from a quantiser or another runtime what the layer does.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

_EXACT = 1e-6
"""A factor that is as near as this to one changes no float32 product by more than its last bits."""

_Shape = tuple[int | str | None, ...]


def simplify(model: ModelProto) -> ModelProto:
    """The same network with fewer and plainer nodes. Leaves the given model as it is.

    Folds what doesn't depend on the input into constants, drops factors of one and masks that hide nothing, and writes
    pools over the whole picture as such.
    """
    model = onnx.shape_inference.infer_shapes(model, strict_mode=False, data_prop=True)
    graph = _Graph.of(model.graph)
    _fold_gates(graph)
    _drop_idle_masks(graph)
    _name_global_pools(graph)
    _drop_unused(model.graph)
    del model.graph.value_info[:]
    onnx.checker.check_model(model)
    return model


@dataclass(frozen=True, slots=True)
class _Graph:
    """A graph with what is known of its values."""

    proto: GraphProto
    shapes: dict[str, _Shape]
    constants: dict[str, NDArray[np.generic]]
    uniform: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    """Values that are the same for every image, in shape (1, channels, 1, 1)."""

    @classmethod
    def of(cls, proto: GraphProto) -> "_Graph":
        values = (*proto.input, *proto.value_info, *proto.output)
        return cls(
            proto=proto,
            shapes={value.name: _shape(value.type.tensor_type.shape) for value in values},
            constants={tensor.name: numpy_helper.to_array(tensor) for tensor in proto.initializer},
        )

    def optional(self, node: NodeProto, position: int) -> NDArray[np.generic] | None:
        """A constant input of the node, None where it has none there."""
        return self.constants.get(node.input[position]) if len(node.input) > position else None


def _shape(proto: onnx.TensorShapeProto) -> _Shape:
    return tuple(
        int(size.dim_value) if size.HasField("dim_value") else (str(size.dim_param) or None) for size in proto.dim
    )


def _fold_gates(graph: _Graph) -> None:
    """Fold products with what all images share: squeeze-and-excitation with all-zero weights, for one."""
    renamed: dict[str, str] = {}
    kept: list[NodeProto] = []
    results = {output.name for output in graph.proto.output}
    for node in graph.proto.node:
        for position, name in enumerate(node.input):
            if name in renamed:
                node.input[position] = renamed[name]
        value = _uniform_value(graph, node)
        if value is not None and graph.shapes.get(node.output[0], ())[1:] == value.shape[1:]:
            graph.uniform[node.output[0]] = value
        gated = _gated(graph, node)
        if gated is None:
            kept.append(node)
            continue
        data, factor = gated
        if np.abs(graph.uniform[factor] - 1).max() <= _EXACT and node.output[0] not in results:
            renamed[node.output[0]] = data
            continue
        constant = f"{factor}.folded"
        if constant not in graph.constants:
            _add(graph, constant, graph.uniform[factor])
        node.input[:] = [data, constant]
        kept.append(node)
    _replace_nodes(graph.proto, kept)


def _uniform_value(graph: _Graph, node: NodeProto) -> NDArray[np.float32] | None:
    """What the node gives whatever the image is, None where that depends on it."""
    if node.op_type == "Conv":
        weight = graph.constants.get(node.input[1])
        if weight is None or weight.any():
            return None
        bias = graph.optional(node, 2)
        channels = np.zeros(len(weight), np.float32) if bias is None else np.asarray(bias, np.float32)
        return channels.reshape(1, -1, 1, 1)
    function = _UNARY.get(node.op_type)
    if function is None or node.input[0] not in graph.uniform:
        return None
    return function(graph.uniform[node.input[0]])


def _sigmoid(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(1 / (1 + np.exp(-values.astype(np.float64))), np.float32)


def _relu(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.maximum(values, np.float32(0))


_UNARY: dict[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {"Sigmoid": _sigmoid, "Relu": _relu}


def _gated(graph: _Graph, node: NodeProto) -> tuple[str, str] | None:
    """The data and the factor of a product of which one side is the same for all images."""
    if node.op_type != "Mul":
        return None
    for data, factor in (node.input, reversed(node.input)):
        # A factor of one value a channel broadcasts; any other data would take its shape from the factor.
        if (
            factor in graph.uniform
            and len(graph.shapes.get(data, ())) == 4
            and (graph.shapes[data] == graph.shapes.get(node.output[0]))
        ):
            return data, factor
    return None


def _drop_idle_masks(graph: _Graph) -> None:
    """Take attention's mask out where it lets everything through."""
    makers = _makers(graph.proto)
    renamed: dict[str, str] = {}
    kept: list[NodeProto] = []
    results = {output.name for output in graph.proto.output}
    for node in graph.proto.node:
        for position, name in enumerate(node.input):
            if name in renamed:
                node.input[position] = renamed[name]
        source = _without_mask(graph, makers, node)
        if source is None or node.output[0] in results:
            kept.append(node)
        else:
            renamed[node.output[0]] = source
    _replace_nodes(graph.proto, kept)


def _without_mask(graph: _Graph, makers: dict[str, NodeProto], node: NodeProto) -> str | None:
    """The scores to which the node adds a mask of zeros."""
    if node.op_type != "Add":
        return None
    for scores, mask in (node.input, reversed(node.input)):
        if _is_zero(graph, makers, mask) and _fits_into(graph.shapes.get(mask), graph.shapes.get(scores)):
            return scores
    return None


def _is_zero(graph: _Graph, makers: dict[str, NodeProto], name: str) -> bool:
    choice = makers.get(name)
    if choice is None or choice.op_type != "Where":
        return False
    condition = choice.input[0]
    if condition in makers and makers[condition].op_type == "Expand":
        condition = makers[condition].input[0]
    everywhere, value = graph.constants.get(condition), graph.constants.get(choice.input[1])
    return everywhere is not None and value is not None and bool(everywhere.all()) and not value.any()


def _fits_into(small: _Shape | None, large: _Shape | None) -> bool:
    """Whether the first broadcasts to the second and leaves its shape."""
    if not small or not large or len(small) > len(large):
        return False
    pairs = zip(reversed(small), reversed(large), strict=False)
    return all(own == 1 or (own is not None and own == other) for own, other in pairs)


def _name_global_pools(graph: _Graph) -> None:
    """Write an average over a window that holds the whole picture as a global one, as other runtimes want it."""
    for node in graph.proto.node:
        if node.op_type == "AveragePool" and _holds_everything(node, graph.shapes.get(node.input[0], ())):
            node.CopyFrom(helper.make_node("GlobalAveragePool", [node.input[0]], [node.output[0]], name=node.name))


def _holds_everything(node: NodeProto, shape: _Shape) -> bool:
    attributes = _attributes(node)
    sizes, window = shape[2:], attributes["kernel_shape"]
    pads = attributes.get("pads", [0])
    dilations = attributes.get("dilations", [1])
    if attributes.get("auto_pad", b"NOTSET") != b"NOTSET" or any(pads) or set(dilations) != {1} or not sizes:
        return False
    known = [size for size in sizes if isinstance(size, int)]
    if len(known) != len(sizes):
        return False
    # A window past the edge is cut to the picture where the output's size is rounded up, and counts what is there.
    return all(
        window_size == size or (window_size > size and bool(attributes.get("ceil_mode")))
        for window_size, size in zip(window, known, strict=True)
    )


def _drop_unused(graph: GraphProto) -> None:
    """Take out nodes and constants that no output needs."""
    needed = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    _replace_nodes(graph, reversed(kept))
    constants: list[TensorProto] = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(constants)


def _makers(graph: GraphProto) -> dict[str, NodeProto]:
    """The node that gives each value."""
    return {name: node for node in graph.node for name in node.output}


def _attributes(node: NodeProto) -> dict[str, Any]:
    return {item.name: helper.get_attribute_value(item) for item in node.attribute}


def _replace_nodes(graph: GraphProto, nodes: Iterable[NodeProto]) -> None:
    nodes = list(nodes)
    del graph.node[:]
    graph.node.extend(nodes)


def _add(graph: _Graph, name: str, values: NDArray[np.float32]) -> None:
    graph.proto.initializer.append(numpy_helper.from_array(values, name))
    graph.constants[name] = values
