"""From a torch network to ONNX graphs. Imports torch."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx_ir import Graph, Model
from transformers import PreTrainedModel

from framemesh.errors import FramemeshError
from model_server.networks import Network
from model_server.runtimes import GRAPH, INPUT, TEXT_GRAPH, TEXT_INPUTS, TEXT_OUTPUT
from model_server.simplifying import simplify

MAX_BATCH = 256
_KEPT_METADATA = frozenset({"pkg.torch.onnx.name_scopes"})
"""From which of the network's modules a node comes, such as `vit.encoder.layer.0.attention`: for who reads a graph.

The rest is for torch's own developers, and its stack traces name this machine's folders, and by them who works there.
"""
_MAX_GRAPH_BYTES = 1 << 30  # protobuf ends at 2 GiB: the weights of larger networks lie beside the graph


class NotExportableError(FramemeshError):
    """No graph can be made of the network; torch itself still runs it."""


def export(network: Network, pixels: NDArray[np.float32], folder: Path, *, fixed: bool) -> None:
    """Write the network's graphs into the folder.

    Args:
        network: What to export. Its attention goes in single steps from then on.
        pixels: An input of one image, shape (1, channels, height, width).
        folder: Where the graphs go.
        fixed: Whether every input has this height and width.

    Raises:
        NotExportableError: torch can't; the message has its reason.
    """
    if network.unexportable:
        raise NotExportableError(network.unexportable)
    dynamic: dict[int, Any] = {0: torch.export.Dim("batch", min=1, max=MAX_BATCH)}
    if not fixed:
        dynamic |= {2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    # Of two images: torch takes a size of one for a constant.
    example = torch.from_numpy(np.concatenate([pixels, pixels]))
    _export(network.module, (example,), folder / GRAPH, [dynamic], names=([INPUT], network.outputs))
    if network.texts is not None:
        # Two tensors: of one that is given twice, the exporter would make one input.
        length = network.task.text_length
        words, mask = (torch.ones((2, length or 7), dtype=torch.int64) for _ in range(2))
        axes: dict[int, Any] = {0: torch.export.Dim("texts", min=1, max=4096)}
        if not length:
            axes[1] = torch.export.Dim.AUTO
        _export(network.texts, (words, mask), folder / TEXT_GRAPH, [axes, axes], names=(TEXT_INPUTS, (TEXT_OUTPUT,)))


def _export(
    module: torch.nn.Module,
    arguments: tuple[torch.Tensor, ...],
    path: Path,
    dynamic: Sequence[Mapping[int, Any]],
    *,
    names: tuple[Sequence[str], Sequence[str]],
) -> None:
    large = sum(weights.nbytes for weights in module.parameters()) > _MAX_GRAPH_BYTES
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns that torchvision isn't there
    try:
        _take_plain_attention(module)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's exporter uses what torch has deprecated
            program = torch.onnx.export(
                _captured(module, arguments, tuple(dynamic)),
                arguments,
                dynamo=True,
                input_names=list(names[0]),
                output_names=list(names[1]),
                verbose=False,
            )
            assert program is not None  # noqa: S101 - it is what the new exporter gives
    except Exception as error:
        raise NotExportableError(f"torch can't export it: {_cause(error)}") from error
    _keep_names_for_results(program.model.graph)
    _drop_metadata(program.model)
    if large:
        program.save(path, external_data=True)
        return
    try:
        onnx.save(simplify(program.model_proto), path)
    except Exception as error:  # onnx's have no base of their own
        raise NotExportableError(f"torch exports a graph that onnx refuses: {_cause(error)}") from error


def _keep_names_for_results(graph: Graph) -> None:
    """Rename what within the graph has the name of a result, as torch calls each value after what makes it."""
    results = {value.name: value for value in graph.outputs}
    values = (*graph.initializers.values(), *(value for node in graph.all_nodes() for value in node.outputs))
    for value in values:
        if value.name in results and value is not results[value.name]:
            value.name = f"{value.name}.inner"


def _drop_metadata(model: Model) -> None:
    """Take out what torch notes of its own work: more bytes than the nodes themselves."""
    graph = model.graph
    nodes = list(graph.all_nodes())
    values = (*graph.inputs, *graph.initializers.values(), *(value for node in nodes for value in node.outputs))
    inner = (*(node.metadata_props for node in nodes), *(value.metadata_props for value in values))
    for noted in (model.metadata_props, graph.metadata_props, *inner):
        for key in noted.keys() - _KEPT_METADATA:
            del noted[key]


def _captured(
    module: torch.nn.Module, arguments: tuple[torch.Tensor, ...], dynamic: tuple[Mapping[int, Any], ...]
) -> torch.export.ExportedProgram:
    """What the module does to tensors of any of the sizes.

    The strict way, which reads the module's code rather than running it, is slower and knows less of Python. Yet it
    alone follows `len(images)`, as in RT-DETR. Left to itself, torch would then make a graph for one size of batch.
    """
    with torch.no_grad():
        try:
            return torch.export.export(module, arguments, dynamic_shapes=dynamic, strict=False)
        except Exception:  # noqa: BLE001 - whatever it trips over, the other way's error tells
            return torch.export.export(module, arguments, dynamic_shapes=dynamic, strict=True)


def _take_plain_attention(module: torch.nn.Module) -> None:
    """Have attention done in single steps, for good.

    torch can't take its own fused one apart in Swin or BEiT, and elsewhere makes masks of it that hide nothing.
    """
    for each in module.modules():
        if isinstance(each, PreTrainedModel):
            each.set_attn_implementation("eager")


def _cause(error: BaseException) -> str:
    """The first line of what went wrong at first; the exporter wraps it in advice to its own developers."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
