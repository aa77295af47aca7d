"""The response to a ModelInfer request. Pure."""

from collections.abc import Sequence

import numpy as np
from google.protobuf.json_format import MessageToJson
from numpy.typing import NDArray

from framemesh.errors import InvalidRequestError
from framemesh.oip.grpc_service_pb2 import ModelInferResponse
from model_server.inference import Inferred
from model_server.oip.requests import ANSWER, InferCall, Wanted
from model_server.oip.tensors import BYTES, Output, contents, datatype, encode


def fill(response: ModelInferResponse, call: InferCall, inferred: Sequence[Inferred], labels: Sequence[str]) -> None:
    """Put what was asked for into the response.

    Args:
        response: Gets the outputs.
        call: What was asked for.
        inferred: What the model says of each image.
        labels: The names of the model's classes; empty where it has none.

    Raises:
        InvalidRequestError: The images' outputs have different shapes, or no typed form.
    """
    for wanted in call.outputs:
        output = _output(wanted, inferred, labels)
        kind = BYTES if isinstance(output.elements, list) else datatype(output.elements.dtype)
        tensor = response.outputs.add(name=output.name, datatype=kind, shape=output.shape)
        if call.raw:
            response.raw_output_contents.append(encode(output.elements))
        else:
            tensor.contents.CopyFrom(contents(output))


def _output(wanted: Wanted, inferred: Sequence[Inferred], labels: Sequence[str]) -> Output:
    if wanted.name == ANSWER:
        answers = [_json(one) for one in inferred]
        return Output(wanted.name, (len(answers),), answers)
    array = _joined(wanted.name, inferred)
    if wanted.classes is None:
        return Output(wanted.name, array.shape, array)
    rows = [classified(row, labels, wanted.classes) for row in array.reshape(len(array), -1)]
    return Output(wanted.name, (len(rows), len(rows[0])), [text for row in rows for text in row])


def classified(row: NDArray[np.generic], labels: Sequence[str], count: int) -> list[bytes]:
    """The greatest elements as texts `value:index:label`, greatest first, as Triton writes them.

    Args:
        row: Shape (elements,).
        labels: A name for each element; left out where their number is another.
        count: How many at most.
    """
    names = [f":{label}" for label in labels] if len(labels) == row.size else [""] * row.size
    form = "f" if row.dtype.kind == "f" else "d"
    order = np.argsort(-row.astype(np.float64), kind="stable")[:count]
    return [f"{row[index].item():{form}}:{index}{names[index]}".encode() for index in order]


def _joined(name: str, inferred: Sequence[Inferred]) -> NDArray[np.generic]:
    arrays = [one.outputs[name] for one in inferred]
    if len({array.shape[1:] for array in arrays}) > 1:
        raise InvalidRequestError(
            f"output {name!r} has another shape for each of these images: send one in a request, or ask for {ANSWER!r} "
            "alone"
        )
    return np.concatenate(arrays)


def _json(inferred: Inferred) -> bytes:
    assert inferred.answer is not None  # noqa: S101 - it was asked for
    return MessageToJson(inferred.answer, preserving_proto_field_name=True, indent=None).encode()
