import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import psutil
from google.protobuf.message import Message

from framemesh.mesh.servers import free_port
from framemesh.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from framemesh.rpc.channels import open_channel
from framemesh.rpc.status import from_rpc_error
from framemesh.v1.inference_service_pb2 import InferRequest
from framemesh.v1.inference_service_pb2_grpc import InferenceServiceStub
from tests.model_server import hostile
from tests.model_server.servers import process, until_serving
from tests.pictures import jpeg

IMAGES = 8_000
TENSORS = 2_000
AT_ONCE = 16
GROWTH_BYTES = 32 << 20  # of 229 MiB that are sent meanwhile


async def test_10_000_hostile_inputs_are_each_answered_or_refused_and_the_server_goes_on(
    vit: Path, cache: Path
) -> None:
    port = free_port()
    async with (
        # One arena: else how much each thread's own holds is a matter of which of them came to run, and when.
        process(str(vit), cache, port, MALLOC_ARENA_MAX="1") as server,
        open_channel(f"127.0.0.1:{port}") as channel,
    ):
        await until_serving(channel)
        memory = psutil.Process(server.pid).memory_info
        stub = InferenceServiceStub(channel)
        images = [InferRequest(image=image) for image in hostile.images(IMAGES)]
        outcomes = await _ask(stub.Infer, images[: IMAGES // 5])
        settled = memory().rss
        outcomes += await _ask(stub.Infer, images[IMAGES // 5 :])
        assert outcomes.total() == IMAGES
        assert outcomes.keys() <= {"answered", "INVALID_IMAGE", "IMAGE_TOO_LARGE"}
        assert all(outcomes[kind] > IMAGES / 100 for kind in ("answered", "INVALID_IMAGE", "IMAGE_TOO_LARGE"))
        tensors = await _ask(GRPCInferenceServiceStub(channel).ModelInfer, list(hostile.tensors(TENSORS)))
        assert tensors.keys() <= {"answered", "INVALID_REQUEST", "INVALID_IMAGE", "IMAGE_TOO_LARGE"}
        assert all(tensors[kind] > TENSORS / 100 for kind in ("answered", "INVALID_REQUEST", "INVALID_IMAGE"))
        assert memory().rss - settled < GROWTH_BYTES
        answer = await stub.Infer(InferRequest(image=jpeg()), timeout=60)
        assert answer.answer.classification.labels
        assert server.returncode is None


async def _ask(call: Any, requests: Sequence[Message]) -> Counter[str]:
    """Send each request, some at once; how they ended."""
    waiting = iter(requests)
    outcomes: Counter[str] = Counter()

    async def sender() -> None:
        for request in waiting:
            try:
                await call(request, timeout=60)
            except grpc.aio.AioRpcError as error:
                outcomes[from_rpc_error(error).reason] += 1
            else:
                outcomes["answered"] += 1

    await asyncio.gather(*(sender() for _ in range(AT_ONCE)))
    return outcomes
