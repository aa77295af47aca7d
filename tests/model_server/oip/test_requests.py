import math

import numpy as np
import pytest

from framemesh.errors import InvalidRequestError
from framemesh.oip.grpc_service_pb2 import InferParameter, ModelInferRequest
from model_server.oip.requests import Wanted, read
from model_server.signature import ANY, Signature, TensorSpec
from tests.model_server.oip.wire import image_tensor, pixel_request

FLOAT = np.dtype(np.float32)
SIGNATURE = Signature(TensorSpec("pixel_values", FLOAT, (ANY, 3, ANY, ANY)), (TensorSpec("logits", FLOAT, (ANY, 10)),))
PIXELS = np.zeros((2, 3, 5, 7), np.float32)


def asked(**fields: object) -> ModelInferRequest:
    return ModelInferRequest(inputs=[image_tensor(b"one", b"two")], **fields)  # type: ignore[arg-type]


def whole(number: int) -> InferParameter:
    return InferParameter(int64_param=number)


def test_images_come_one_by_one() -> None:
    assert read(asked(), SIGNATURE, max_images=2).images == [b"one", b"two"]
    call = read(pixel_request(PIXELS), SIGNATURE, max_images=2)
    assert [image.shape for image in call.images if not isinstance(image, bytes)] == [(3, 5, 7), (3, 5, 7)]


def test_the_answer_is_raw_where_the_request_is() -> None:
    assert read(pixel_request(PIXELS), SIGNATURE, max_images=2).raw
    assert not read(pixel_request(PIXELS, raw=False), SIGNATURE, max_images=2).raw


def test_without_a_wish_all_outputs_are_given() -> None:
    assert read(asked(), SIGNATURE, max_images=2).outputs == (Wanted("logits"), Wanted("answer"))


def test_wishes_are_kept_in_their_order() -> None:
    output = ModelInferRequest.InferRequestedOutputTensor
    outputs = [output(name="answer"), output(name="logits", parameters={"classification": whole(3)})]
    call = read(asked(outputs=outputs), SIGNATURE, max_images=2)
    assert call.outputs == (Wanted("answer"), Wanted("logits", 3))


@pytest.mark.parametrize("parameter", [whole(0), whole(-1), InferParameter(string_param="3")])
def test_a_number_of_classes_is_positive(parameter: InferParameter) -> None:
    output = ModelInferRequest.InferRequestedOutputTensor(name="logits", parameters={"classification": parameter})
    with pytest.raises(InvalidRequestError, match="classif"):
        read(asked(outputs=[output]), SIGNATURE, max_images=2)


def test_a_timeout_is_in_microseconds_and_zero_is_none() -> None:
    for parameter, seconds in ((whole(1500), 0.0015), (whole(0), math.inf)):
        assert read(asked(parameters={"timeout": parameter}), SIGNATURE, max_images=2).timeout_seconds == seconds
    assert read(asked(), SIGNATURE, max_images=2).timeout_seconds == math.inf
    with pytest.raises(InvalidRequestError, match="'timeout' must be a whole number of 0 or more"):
        read(asked(parameters={"timeout": whole(-1)}), SIGNATURE, max_images=2)


@pytest.mark.parametrize(("priority", "background"), [(0, False), (1, False), (2, True), (2**63, True)])
def test_all_but_the_highest_priority_is_background(priority: int, *, background: bool) -> None:
    parameters = {"priority": InferParameter(uint64_param=priority)}
    assert read(asked(parameters=parameters), SIGNATURE, max_images=2).background == background


def test_shared_memory_is_refused_by_name() -> None:
    request = asked()
    request.inputs[0].parameters["shared_memory_region"].string_param = "region"
    with pytest.raises(InvalidRequestError, match="'image' lies in shared memory"):
        read(request, SIGNATURE, max_images=2)
    output = ModelInferRequest.InferRequestedOutputTensor(
        name="logits", parameters={"shared_memory_region": InferParameter(string_param="region")}
    )
    with pytest.raises(InvalidRequestError, match="'logits' can't be put into shared memory"):
        read(asked(outputs=[output]), SIGNATURE, max_images=2)


def test_more_images_than_may_wait_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match="2 images are too many: send at most 1"):
        read(asked(), SIGNATURE, max_images=1)
