"""Requests as bytes made ahead, and answers read back, for each protocol that a server speaks."""

import json
import struct
from collections.abc import Iterator
from typing import Any, Literal

from benchmarks.serving.order import HOST, MODEL
from framemesh.v1.inference_service_pb2 import InferRequest, InferResponse

Protocol = Literal["framemesh", "inference", "http", "form"]
"""Our gRPC, the Open Inference Protocol's gRPC, HTTP with the image as body, HTTP with it as a form's file."""

_BOUNDARY = b"framemesh-benchmark"


def encode(protocol: Protocol, path: str, image: bytes) -> bytes:
    """The whole request for one image: a gRPC message, or an HTTP request with its head."""
    match protocol:
        case "framemesh":
            return InferRequest(image=image).SerializeToString()
        case "inference":
            return _model_infer_request(image)
        case "http":
            return _http_request(path, b"image/jpeg", image)
        case "form":
            disposition = b'Content-Disposition: form-data; name="image"; filename="image.jpg"'
            part = b"\r\n".join((b"--" + _BOUNDARY, disposition, b"Content-Type: image/jpeg", b"", image))
            body = part + b"\r\n--" + _BOUNDARY + b"--\r\n"
            return _http_request(path, b"multipart/form-data; boundary=" + _BOUNDARY, body)


def best_classes(protocol: Protocol, answer: bytes) -> list[int]:
    """The classes that an answer names, by their numbers, best first."""
    if protocol == "framemesh":
        return [label.index for label in InferResponse.FromString(answer).answer.classification.labels]
    labels = json.loads(_output_text(answer) if protocol == "inference" else answer)
    return [int(label["index"]) for label in labels]


def _http_request(path: str, content_type: bytes, body: bytes) -> bytes:
    head = (
        b"POST " + path.encode() + b" HTTP/1.1",
        b"Host: " + HOST.encode(),
        b"Content-Type: " + content_type,
        b"Content-Length: " + str(len(body)).encode(),
    )
    return b"\r\n".join(head) + b"\r\n\r\n" + body


# The Open Inference Protocol's messages by hand: the clients that have them bring packages of their own.
# https://protobuf.dev/programming-guides/encoding/


def _model_infer_request(image: bytes) -> bytes:
    tensor = _field(1, b"image") + _field(2, b"BYTES") + _field(3, _varint(1))
    return _field(1, MODEL.encode()) + _field(5, tensor) + _field(7, struct.pack("<I", len(image)) + image)


def _output_text(answer: bytes) -> bytes:
    """The text in the only element of the only output, as raw bytes or as `contents`."""
    for number, value in _fields(answer):
        if number == 6:
            return value[4:]
        if number == 5:
            for inner, contents in _fields(value):
                if inner == 5 and contents:
                    return dict(_fields(contents))[8]
    raise ValueError("the answer holds no output")


def _field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes((low | 0x80,)) + _varint(rest) if rest else bytes((low,))


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """The fields that have a length, with their numbers."""
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        size, at = _read_varint(message, at)
        if key & 7 == 2:
            yield key >> 3, message[at : at + size]
            at += size
        elif key & 7:
            raise ValueError(f"the answer has a field of wire type {key & 7}")


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def labels_of(answer: Any) -> list[int]:
    """The classes of an answer that was never encoded."""
    return [int(label["index"]) for label in answer]
