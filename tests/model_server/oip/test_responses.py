import numpy as np
import pytest

from framemesh.errors import InvalidRequestError
from framemesh.oip.grpc_service_pb2 import ModelInferResponse
from framemesh.v1.answer_pb2 import Answer, Classification, Label
from model_server.inference import Inferred
from model_server.oip.requests import InferCall, Wanted
from model_server.oip.responses import classified, fill

LABELS = ("cat", "dog", "owl")


def inferred(*rows: float) -> Inferred:
    answer = Answer(classification=Classification(labels=[Label(index=1, name="dog", score=0.5)]))
    return Inferred(answer, {"logits": np.array([rows], np.float32)}, 0, 0, 0, 1)


def filled(*wanted: Wanted, raw: bool, images: list[Inferred]) -> ModelInferResponse:
    response = ModelInferResponse()
    fill(response, InferCall([b""], wanted, raw=raw, timeout_seconds=1, background=False), images, LABELS)
    return response


def test_a_raw_request_is_answered_raw_and_a_typed_one_typed() -> None:
    images = [inferred(1, 3, 2), inferred(4, 5, 6)]
    raw = filled(Wanted("logits"), raw=True, images=images)
    assert raw.raw_output_contents[0] == np.array([[1, 3, 2], [4, 5, 6]], np.float32).tobytes()
    assert not raw.outputs[0].HasField("contents")
    typed = filled(Wanted("logits"), raw=False, images=images)
    assert list(typed.outputs[0].contents.fp32_contents) == [1, 3, 2, 4, 5, 6]
    assert not typed.raw_output_contents
    for response in (raw, typed):
        (tensor,) = response.outputs
        assert (tensor.name, tensor.datatype, list(tensor.shape)) == ("logits", "FP32", [2, 3])


def test_answers_are_json_with_the_protos_own_names() -> None:
    (tensor,) = filled(Wanted("answer"), raw=False, images=[inferred(1, 3, 2)]).outputs
    assert (tensor.datatype, list(tensor.shape)) == ("BYTES", [1])
    assert tensor.contents.bytes_contents == [
        b'{"classification": {"labels": [{"index": 1, "name": "dog", "score": 0.5}]}}'
    ]


def test_classes_are_the_best_of_each_row() -> None:
    (tensor,) = filled(Wanted("logits", 2), raw=False, images=[inferred(1, 3, 2), inferred(4, 5, 6)]).outputs
    assert (tensor.datatype, list(tensor.shape)) == ("BYTES", [2, 2])
    assert tensor.contents.bytes_contents == [
        b"3.000000:1:dog", b"2.000000:2:owl", b"6.000000:2:owl", b"5.000000:1:dog"
    ]  # fmt: skip


def test_classes_without_names_have_none_and_there_are_no_more_than_there_are() -> None:
    assert classified(np.array([5, 7, 7], np.int64), (), 9) == [b"7:1", b"7:2", b"5:0"]


def test_outputs_of_different_shapes_cannot_be_one_tensor() -> None:
    with pytest.raises(InvalidRequestError, match="'logits' has another shape for each of these images"):
        filled(Wanted("logits"), raw=True, images=[inferred(1, 2), inferred(1, 2, 3)])
