"""From an fp32 graph to an int8 one that still gives its answers: recipes, tried from the fastest to the mildest.

int8 pays where matrices are large; where it doesn't keep the answers, nothing is written and the fp32 graph serves.
Needs onnx; torch isn't imported.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

from framemesh.errors import FramemeshError

MIN_AGREEMENT = 0.99
"""The least share of fp32's answers that an int8 graph must give."""

_STATIC = ["Conv", "Gemm", "MatMul", "Clip", "Relu", "Add", "GlobalAveragePool", "Reshape"]


class QuantisationRefusedError(FramemeshError):
    """No recipe keeps the answers of the fp32 graph."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to quantise.

    Attributes:
        name: For the log and the manifest.
        activations: `dynamic` measures each tensor as it comes and quantises products with weights alone, `static` has
            ranges from calibration and quantises all that a convolution touches.
        float_head: How many of the first weighted layers stay fp32: early layers' errors grow through all later ones.
        float_tail: How many of the last stay fp32.
        reduce_range: Weights in 7 bits: without VNNI, x86 adds two products of 8 bits in 16, which overflow.
    """

    name: str
    activations: Literal["dynamic", "static"]
    float_head: int = 0
    float_tail: int = 0
    reduce_range: bool = True


DYNAMIC = (
    Recipe("dynamic", "dynamic"),
    Recipe("dynamic, ends in fp32", "dynamic", float_head=7, float_tail=13),
)
"""For transformers, where products with weights take most of the time."""

STATIC = (
    Recipe("static, 3 layers in fp32", "static", float_head=3, float_tail=1, reduce_range=False),
    Recipe("static, 15 layers in fp32", "static", float_head=15, float_tail=1, reduce_range=False),
    Recipe("static, 24 layers in fp32", "static", float_head=24, float_tail=1, reduce_range=False),
)
"""For convolutional networks."""


@dataclass(frozen=True, slots=True)
class Quantised:
    """What was made.

    Attributes:
        recipe: The one that passed.
        agreement: What it reached, from 0 to 1.
    """

    recipe: str
    agreement: float


def recipes(graph: Path) -> Sequence[Recipe]:
    """The recipes that suit a graph, the fastest first."""
    proto = onnx.load(graph, load_external_data=False).graph
    convolutions = sum(node.op_type == "Conv" for node in _weighted(proto))
    return STATIC if convolutions * 2 > len(_weighted(proto)) else DYNAMIC


def search(
    graph: Path,
    calibration: Sequence[NDArray[np.float32]],
    output: Path,
    agreement: Callable[[Path], float],
    *,
    choices: Sequence[Recipe] | None = None,
) -> Quantised:
    """Write the graph of the first recipe that keeps fp32's answers.

    Args:
        graph: An fp32 graph of one input, simplified.
        calibration: Batches of inputs from photos other than those that `agreement` looks at.
        output: Where the int8 graph goes; nothing stays there unless it passes.
        agreement: The share of fp32's answers to photos that a candidate gives.
        choices: What to try, by default what suits the graph.

    Raises:
        QuantisationRefusedError: No recipe passes; the message says how near each came.
    """
    reached: list[str] = []
    for recipe in recipes(graph) if choices is None else choices:
        quantise(graph, calibration, output, recipe)
        share = agreement(output)
        if share >= MIN_AGREEMENT:
            return Quantised(recipe.name, share)
        reached.append(f"{recipe.name}: {share:.1%}")
    output.unlink()
    raise QuantisationRefusedError(
        f"too few of its answers are those of fp32: it takes {MIN_AGREEMENT:.0%} ({'; '.join(reached)})"
    )


def quantise(graph: Path, calibration: Sequence[NDArray[np.float32]], output: Path, recipe: Recipe) -> None:
    """Write the int8 graph that the recipe makes, however good."""
    proto = onnx.load(graph, load_external_data=False).graph
    excluded = _left_in_float(proto, recipe)
    if recipe.activations == "dynamic":
        quantize_dynamic(
            graph,
            output,
            op_types_to_quantize=["MatMul"],
            nodes_to_exclude=excluded,
            per_channel=True,
            reduce_range=recipe.reduce_range,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )
        return
    quantize_static(
        graph,
        output,
        _Reader(proto.input[0].name, calibration),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=_STATIC,
        nodes_to_exclude=excluded,
        per_channel=True,
        reduce_range=recipe.reduce_range,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )


def _left_in_float(proto: GraphProto, recipe: Recipe) -> list[str]:
    """Names of the nodes before the first layer that is quantised and after the last, activations and sums too."""
    weighted = {node.output[0] for node in _weighted(proto)}
    excluded: list[str] = []
    seen = 0
    last = len(weighted) - recipe.float_tail
    for node in proto.node:
        seen += node.output[0] in weighted
        if seen <= recipe.float_head or seen > last:
            excluded.append(node.name)
    return excluded


def _weighted(proto: GraphProto) -> list[NodeProto]:
    """The layers: nodes that multiply by weights."""
    constants = {tensor.name for tensor in proto.initializer}
    return [node for node in proto.node if node.op_type in {"Conv", "Gemm", "MatMul"} and node.input[1] in constants]


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Hands the calibration's batches to onnxruntime."""

    def __init__(self, name: str, batches: Sequence[NDArray[np.float32]]) -> None:
        self._batches = iter([{name: batch} for batch in batches])

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next batch, None after the last."""
        return next(self._batches, None)
