"""What a ModelInfer request asks for, checked whole before anything is queued. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from framemesh.errors import InvalidRequestError
from framemesh.oip.grpc_service_pb2 import InferParameter, ModelInferRequest
from model_server.oip.tensors import BYTES, FP32, decode_bytes, decode_fp32, raw_inputs
from model_server.runtimes import INPUT
from model_server.signature import ANY, Signature

IMAGE = "image"
"""The input of encoded images: BYTES of shape (images,)."""
ANSWER = "answer"
"""The output of typed answers: BYTES of shape (images,), each a `framemesh.v1.Answer` as JSON. Of `pixel_values`, the
answer's pixels are those of the tensor."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """An output that is asked for.

    Attributes:
        name: Its name.
        classes: How many of the greatest elements are wanted instead of all; None means all.
    """

    name: str
    classes: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class InferCall:
    """What a request asks for.

    Attributes:
        images: Encoded images; or inputs of the network, each of shape (channels, height, width).
        outputs: What is wanted, in this order.
        raw: Whether the response is to be raw.
        timeout_seconds: How long the answer is of use; infinite where the request doesn't say.
        background: Whether all others go before it.
    """

    images: Sequence[bytes | NDArray[np.float32]]
    outputs: tuple[Wanted, ...]
    raw: bool
    timeout_seconds: float
    background: bool


def read(request: ModelInferRequest, signature: Signature, *, max_images: int) -> InferCall:
    """What the request asks of a network.

    Without requested outputs it gets all: the network's own, and `ANSWER`.

    Args:
        request: What came.
        signature: The network's tensors.
        max_images: The most that one request may hold.

    Raises:
        InvalidRequestError: The request is against the protocol, or asks for what the network doesn't have.
    """
    return InferCall(
        images=_images(request, signature, max_images),
        outputs=_outputs(request, signature),
        raw=bool(request.raw_input_contents),
        timeout_seconds=_timeout_seconds(request),
        background=_whole(request.parameters.get("priority"), "priority") > 1,
    )


def _images(request: ModelInferRequest, signature: Signature, max_images: int) -> Sequence[bytes | NDArray[np.float32]]:
    if len(request.inputs) != 1 or request.inputs[0].name not in {IMAGE, INPUT}:
        names = ", ".join(repr(tensor.name) for tensor in request.inputs) or "none"
        raise InvalidRequestError(f"the inputs are {names}: send either {IMAGE!r} or {INPUT!r}")
    (tensor,) = request.inputs
    if "shared_memory_region" in tensor.parameters:
        raise InvalidRequestError(f"input {tensor.name!r} lies in shared memory, which this server can't read: send it")
    (raw,) = raw_inputs(request)
    is_image = tensor.name == IMAGE
    _check(tensor, BYTES if is_image else FP32, (ANY,) if is_image else signature.input.shape)
    if tensor.shape[0] > max_images:
        raise InvalidRequestError(f"{tensor.shape[0]:,} images are too many: send at most {max_images} in one request")
    return decode_bytes(tensor, raw) if is_image else list(decode_fp32(tensor, raw))


def _check(tensor: ModelInferRequest.InferInputTensor, datatype: str, shape: Sequence[int]) -> None:
    if tensor.datatype != datatype:
        raise InvalidRequestError(f"input {tensor.name!r} can't be {tensor.datatype}: send {datatype}")
    fits = len(tensor.shape) == len(shape) and all(
        size == wanted or (wanted == ANY and size > 0) for size, wanted in zip(tensor.shape, shape, strict=True)
    )
    if not fits:
        raise InvalidRequestError(
            f"input {tensor.name!r} can't have shape {list(tensor.shape)}: send {list(shape)}, where {ANY} is any size"
        )


def _outputs(request: ModelInferRequest, signature: Signature) -> tuple[Wanted, ...]:
    names = [*(output.name for output in signature.outputs), ANSWER]
    if not request.outputs:
        return tuple(Wanted(name) for name in names)
    return tuple(_wanted(output, names) for output in request.outputs)


def _wanted(output: ModelInferRequest.InferRequestedOutputTensor, names: Sequence[str]) -> Wanted:
    if output.name not in names:
        raise InvalidRequestError(f"no output {output.name!r}; there are: {', '.join(names)}")
    if "shared_memory_region" in output.parameters:
        raise InvalidRequestError(f"output {output.name!r} can't be put into shared memory: take it from the response")
    if "classification" not in output.parameters:
        return Wanted(output.name)
    classes = _whole(output.parameters["classification"], "classification")
    if classes < 1 or output.name == ANSWER:
        raise InvalidRequestError(f"output {output.name!r} can't be classified into {classes} classes")
    return Wanted(output.name, classes)


def _timeout_seconds(request: ModelInferRequest) -> float:
    """Of the parameter in microseconds; 0 means none, as with Triton."""
    return _whole(request.parameters.get("timeout"), "timeout") / 1e6 or math.inf


def _whole(parameter: InferParameter | None, name: str) -> int:
    """A parameter that is a whole number and not negative; 0 where there is none."""
    if parameter is None:
        return 0
    kind = parameter.WhichOneof("parameter_choice")
    value = getattr(parameter, kind) if kind in {"int64_param", "uint64_param"} else -1
    if value < 0:
        raise InvalidRequestError(f"parameter {name!r} must be a whole number of 0 or more")
    return int(value)
