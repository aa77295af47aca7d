"""A model whose network is one mean: it names the color that a picture has most of. Made without torch, in a moment."""

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from framemesh import digests
from model_server.artifacts import FORMAT, Manifest, write_manifest
from model_server.geometry import Size
from model_server.preprocessing import Preprocessing
from model_server.runtimes import GRAPH, INPUT
from model_server.tasks import Classification
from model_server.trust import Trust


def make(folder: Path) -> Path:
    """Prepare the model in the folder."""
    folder.mkdir()
    graph = helper.make_graph(
        [helper.make_node("GlobalAveragePool", [INPUT], ["means"]), helper.make_node("Flatten", ["means"], ["logits"])],
        "color",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["images", 3, 32, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["images", 3])],
    )
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(network, str(folder / GRAPH))
    manifest = Manifest(
        format=FORMAT,
        version="v1",
        runtime="onnx",
        precision="fp32",
        fallback_reason="",
        task=Classification(("red", "green", "blue"), "softmax"),
        preprocessing=Preprocessing(Size(32, 32), 2, None, (1 / 255,) * 3, (0.0,) * 3),
        preferred="fast",
        trust=Trust(),
        files=digests.of_files([folder / GRAPH]),
    )
    write_manifest(folder, manifest)
    return folder
