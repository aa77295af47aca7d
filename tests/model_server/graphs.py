"""Small ONNX graphs made by hand."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import ArrayLike, NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper


def model(nodes: list[onnx.NodeProto], constants: Mapping[str, ArrayLike], shape: list[int | str]) -> ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(values), name) for name, values in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def operators(proto: ModelProto) -> list[str]:
    return [node.op_type for node in proto.graph.node]


def run(proto: ModelProto | Path, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    content = str(proto) if isinstance(proto, Path) else proto.SerializeToString()
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {session.get_inputs()[0].name: pixels})
    return np.asarray(result)
