"""Requests as other clients than Triton's write them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from framemesh.oip.grpc_service_pb2 import InferTensorContents, ModelInferRequest

Tensor = ModelInferRequest.InferInputTensor


def pixel_request(pixels: NDArray[np.float32], *, raw: bool = True, **fields: Any) -> ModelInferRequest:
    """A request with the network's own input, raw or typed."""
    tensor = Tensor(name="pixel_values", datatype="FP32", shape=pixels.shape)
    request = ModelInferRequest(inputs=[tensor], **fields)
    if raw:
        request.raw_input_contents.append(pixels.tobytes())
    else:
        request.inputs[0].contents.fp32_contents.extend(pixels.ravel().tolist())
    return request


def image_tensor(*images: bytes, count: int | None = None) -> Tensor:
    """A typed input of encoded images, of which the shape may say another number."""
    return Tensor(
        name="image",
        datatype="BYTES",
        shape=[len(images) if count is None else count],
        contents=InferTensorContents(bytes_contents=images),
    )
