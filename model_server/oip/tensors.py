"""Tensors as the protocol carries them: raw bytes, or typed contents. Pure."""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framemesh.errors import InvalidRequestError
from framemesh.oip.grpc_service_pb2 import InferTensorContents, ModelInferRequest

Elements = NDArray[np.generic] | list[bytes]
"""A tensor's elements: an array; or the texts of a BYTES tensor, which has one axis or two."""

BYTES = "BYTES"
FP32 = "FP32"

_LENGTH = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Output:
    """A tensor for the asker.

    Attributes:
        name: Its name.
        shape: Its sizes.
        elements: Its elements in the order of its rows.
    """

    name: str
    shape: tuple[int, ...]
    elements: Elements


_NAMES: dict[np.dtype[Any], tuple[str, str]] = {
    np.dtype(dtype): (name, contents)
    for dtype, name, contents in (
        (np.bool_, "BOOL", "bool_contents"),
        (np.int8, "INT8", "int_contents"),
        (np.int16, "INT16", "int_contents"),
        (np.int32, "INT32", "int_contents"),
        (np.int64, "INT64", "int64_contents"),
        (np.uint8, "UINT8", "uint_contents"),
        (np.uint16, "UINT16", "uint_contents"),
        (np.uint32, "UINT32", "uint_contents"),
        (np.uint64, "UINT64", "uint64_contents"),
        (np.float16, "FP16", ""),
        (np.float32, FP32, "fp32_contents"),
        (np.float64, "FP64", "fp64_contents"),
    )
}


def datatype(dtype: np.dtype[Any]) -> str:
    """The protocol's name for a type of elements."""
    return _NAMES[dtype][0]


def raw_inputs(request: ModelInferRequest) -> Sequence[bytes | None]:
    """The raw elements of each input; None for those with typed contents.

    Raises:
        InvalidRequestError: Some are raw and some aren't, or one is both.
    """
    raws = request.raw_input_contents
    if not raws:
        return [None] * len(request.inputs)
    if len(raws) != len(request.inputs):
        raise InvalidRequestError(
            f"raw_input_contents has {len(raws)} entries for {len(request.inputs)} inputs: send one for each input"
        )
    for tensor in request.inputs:
        if tensor.HasField("contents"):
            raise InvalidRequestError(
                f"input {tensor.name!r} has contents beside raw_input_contents: send one or the other"
            )
    return raws


def decode_bytes(tensor: ModelInferRequest.InferInputTensor, raw: bytes | None) -> list[bytes]:
    """The elements of a BYTES tensor with one axis.

    Raises:
        InvalidRequestError: It has more elements than its shape says, or fewer; or a length that goes past its end.
    """
    (count,) = tensor.shape
    elements = list(tensor.contents.bytes_contents) if raw is None else _unprefixed(tensor.name, raw, count)
    _check_count(tensor, len(elements))
    return elements


def decode_fp32(tensor: ModelInferRequest.InferInputTensor, raw: bytes | None) -> NDArray[np.float32]:
    """The array of an FP32 tensor, of the tensor's shape.

    Raises:
        InvalidRequestError: It has more elements than its shape says, or fewer; or one that is no finite number.
    """
    if raw is None:
        elements = np.asarray(tensor.contents.fp32_contents, np.float32)
    else:
        if len(raw) % 4:
            raise InvalidRequestError(f"input {tensor.name!r} has {len(raw):,} raw bytes: an element of FP32 takes 4")
        elements = np.frombuffer(raw, "<f4").astype(np.float32)  # a copy: torch warns of arrays that can't be written
    _check_count(tensor, elements.size)
    if not np.isfinite(elements).all():
        raise InvalidRequestError(f"input {tensor.name!r} has elements that are infinite or no number")
    return elements.reshape(tuple(tensor.shape))


def encode(elements: Elements) -> bytes:
    """Elements in raw form: little-endian, or each text with its length before it."""
    if isinstance(elements, list):
        return b"".join(part for text in elements for part in (_LENGTH.pack(len(text)), text))
    return np.ascontiguousarray(elements, elements.dtype.newbyteorder("<")).tobytes()


def contents(output: Output) -> InferTensorContents:
    """Elements in typed form.

    Raises:
        InvalidRequestError: The protocol has no typed form for them.
    """
    if isinstance(output.elements, list):
        return InferTensorContents(bytes_contents=output.elements)
    name, field = _NAMES[output.elements.dtype]
    if not field:
        raise InvalidRequestError(f"output {output.name!r} is {name}, which has a raw form only: send raw inputs")
    typed = InferTensorContents()
    getattr(typed, field).extend(output.elements.ravel().tolist())
    return typed


def _unprefixed(name: str, raw: bytes, count: int) -> list[bytes]:
    """At most one text more than `count`, so that a lie costs no memory."""
    texts: list[bytes] = []
    start = 0
    while start < len(raw) and len(texts) <= count:
        body = start + _LENGTH.size
        end = body + _LENGTH.unpack_from(raw, start)[0] if body <= len(raw) else math.inf
        if end > len(raw):
            raise InvalidRequestError(
                f"element {len(texts)} of input {name!r} goes past the end of its raw bytes: put the length of each "
                "element before it, as 4 bytes, little-endian"
            )
        texts.append(raw[body : int(end)])
        start = int(end)
    return texts


def _check_count(tensor: ModelInferRequest.InferInputTensor, got: int) -> None:
    wanted = math.prod(tensor.shape)
    if got != wanted:
        raise InvalidRequestError(
            f"input {tensor.name!r} has {'more' if got > wanted else 'fewer'} elements of {tensor.datatype} than its "
            f"shape {list(tensor.shape)} says: send {wanted:,}"
        )
