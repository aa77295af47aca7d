"""A program for KServe's own environment: asks the server on a port as its users do, and writes what it got as JSON.

Its package wants another psutil than ours (`psutil<6`), so it can't be installed beside us.
"""

import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest

PIXELS = np.random.default_rng(7).normal(size=(2, 3, 32, 32)).astype(np.float32)


async def main(port: str, photo: str) -> None:
    """Ask for readiness, both tensors in both forms, and for what isn't there."""
    logging.disable(logging.CRITICAL)
    async with InferenceGRPCClient(f"127.0.0.1:{port}", timeout=60) as client:
        found: dict[str, Any] = {
            "live": await client.is_server_live(),
            "ready": await client.is_server_ready(),
            "model_ready": await client.is_model_ready("tiny"),
        }
        for form, binary in (("raw", True), ("typed", False)):
            response = await client.infer(
                InferRequest("tiny", [_tensor(PIXELS, "FP32", binary=binary)], request_id="7")
            )
            found[form] = {"id": response.id, "logits": _output(response, "logits").tolist()}
        image = np.array([Path(photo).read_bytes()], object)
        response = await client.infer(InferRequest("tiny", [_tensor(image, "BYTES", binary=True)]))
        found["image"] = json.loads(_output(response, "answer")[0])
        for what, request in (
            ("unknown", InferRequest("other", [_tensor(PIXELS, "FP32", binary=True)])),
            ("misshapen", InferRequest("tiny", [_tensor(PIXELS[..., :16].copy(), "FP32", binary=True)])),
        ):
            try:
                await client.infer(request)
            except grpc.RpcError as error:
                found[what] = error.code().name
    sys.stdout.write(json.dumps(found))


def _tensor(values: Any, datatype: str, *, binary: bool) -> InferInput:
    tensor = InferInput("image" if datatype == "BYTES" else "pixel_values", list(values.shape), datatype)
    tensor.set_data_from_numpy(values, binary_data=binary)
    return tensor


def _output(response: Any, name: str) -> Any:
    return next(output.as_numpy() for output in response.outputs if output.name == name)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
