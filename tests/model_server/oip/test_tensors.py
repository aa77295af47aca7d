import struct
from typing import Any

import numpy as np
import pytest

from framemesh.errors import InvalidRequestError
from framemesh.oip.grpc_service_pb2 import ModelInferRequest
from model_server.oip.tensors import Output, contents, datatype, decode_bytes, decode_fp32, encode, raw_inputs
from tests.model_server.oip.wire import Tensor, image_tensor, pixel_request

PIXELS = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)


def prefixed(*elements: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def bytes_tensor(count: int) -> Tensor:
    return Tensor(name="image", datatype="BYTES", shape=[count])


def test_raw_inputs_have_one_entry_each() -> None:
    assert list(raw_inputs(pixel_request(PIXELS))) == [PIXELS.tobytes()]
    assert list(raw_inputs(pixel_request(PIXELS, raw=False))) == [None]
    request = pixel_request(PIXELS)
    request.raw_input_contents.append(b"")
    with pytest.raises(InvalidRequestError, match="2 entries for 1 inputs"):
        raw_inputs(request)


def test_an_input_is_either_raw_or_typed() -> None:
    request = ModelInferRequest(inputs=[image_tensor(b"one")], raw_input_contents=[prefixed(b"one")])
    with pytest.raises(InvalidRequestError, match="'image' has contents beside raw_input_contents"):
        raw_inputs(request)


@pytest.mark.parametrize("elements", [[b"one"], [b"", b"two", bytes(1000)]])
def test_bytes_come_as_they_were_encoded(elements: list[bytes]) -> None:
    raw = encode(elements)
    assert raw == prefixed(*elements)
    assert decode_bytes(bytes_tensor(len(elements)), raw) == elements
    assert decode_bytes(image_tensor(*elements), None) == elements


@pytest.mark.parametrize(
    ("raw", "count", "reason"),
    [
        (b"\xff\xd8\xff\xe0 a JPEG without a length before it", 1, "element 0 of input 'image' goes past the end"),
        (prefixed(b"one") + b"\x01", 2, "element 1 of input 'image' goes past the end"),
        (prefixed(b"one", b"two")[:-1], 2, "element 1 of input 'image' goes past the end"),
        (struct.pack("<I", 2**32 - 1) + b"one", 1, "goes past the end"),
        (prefixed(b"one", b"two"), 1, r"more elements of BYTES than its shape \[1\] says"),
        (prefixed(b"one"), 2, r"fewer elements of BYTES than its shape \[2\] says"),
        (b"", 1, "fewer elements"),
    ],
)
def test_lengths_that_lie_are_refused(raw: bytes, count: int, reason: str) -> None:
    with pytest.raises(InvalidRequestError, match=reason):
        decode_bytes(bytes_tensor(count), raw)


def test_typed_elements_are_as_many_as_the_shape_says() -> None:
    with pytest.raises(InvalidRequestError, match="more elements"):
        decode_bytes(image_tensor(b"one", b"two", count=1), None)


def test_numbers_come_as_they_were_sent() -> None:
    for raw in (True, False):
        request = pixel_request(PIXELS, raw=raw)
        decoded = decode_fp32(request.inputs[0], raw_inputs(request)[0])
        np.testing.assert_array_equal(decoded, PIXELS)
        assert decoded.flags.writeable


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (PIXELS.tobytes()[:-1], "has 95 raw bytes: an element of FP32 takes 4"),
        (PIXELS.tobytes()[:-4], "fewer elements of FP32"),
        (PIXELS.tobytes() + bytes(4), "more elements of FP32"),
        (np.full_like(PIXELS, np.inf).tobytes(), "infinite or no number"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(InvalidRequestError, match=reason):
        decode_fp32(pixel_request(PIXELS).inputs[0], raw)


@pytest.mark.parametrize(
    ("dtype", "name", "field"),
    [
        (np.float32, "FP32", "fp32_contents"),
        (np.float64, "FP64", "fp64_contents"),
        (np.int32, "INT32", "int_contents"),
        (np.int64, "INT64", "int64_contents"),
        (np.uint8, "UINT8", "uint_contents"),
        (np.bool_, "BOOL", "bool_contents"),
    ],
)
def test_each_type_has_its_name_and_its_typed_field(dtype: Any, name: str, field: str) -> None:
    array = np.array([[0, 1], [1, 0]], dtype)
    assert datatype(array.dtype) == name
    typed = contents(Output("boxes", array.shape, array))
    assert [descriptor.name for descriptor, _ in typed.ListFields()] == [field]
    assert list(getattr(typed, field)) == [0, 1, 1, 0]
    assert encode(array.T) == np.ascontiguousarray(array.T).tobytes()


def test_half_floats_are_raw_only() -> None:
    array = np.ones(2, np.float16)
    assert datatype(array.dtype) == "FP16"
    with pytest.raises(InvalidRequestError, match="'logits' is FP16, which has a raw form only"):
        contents(Output("logits", array.shape, array))
