"""The least that serves a model over gRPC: asyncio's server, and a thread for each core."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import grpc

from benchmarks.serving.order import HOST, received
from benchmarks.serving.pipeline import Classify, load
from framemesh.v1.answer_pb2 import Answer, Classification
from framemesh.v1.answer_pb2 import Label as LabelMessage
from framemesh.v1.inference_service_pb2 import (
    GetModelMetadataRequest,
    GetModelMetadataResponse,
    InferRequest,
    InferResponse,
)
from framemesh.v1.inference_service_pb2_grpc import (
    InferenceServiceServicer,
    add_InferenceServiceServicer_to_server,
)

Context = grpc.aio.ServicerContext[InferRequest, InferResponse]


class Api(InferenceServiceServicer):
    """Our own protocol, without all else that our server does."""

    def __init__(self, classify: Classify, threads: ThreadPoolExecutor) -> None:
        self._classify = classify
        self._threads = threads

    async def Infer(self, request: InferRequest, context: Context) -> InferResponse:  # noqa: ARG002, N802 - gRPC's
        """Run the model on one image."""
        labels = await asyncio.get_running_loop().run_in_executor(self._threads, self._classify, request.image)
        return InferResponse(answer=Answer(classification=Classification(labels=[LabelMessage(**x) for x in labels])))

    async def GetModelMetadata(self, request: GetModelMetadataRequest, context: object) -> GetModelMetadataResponse:  # noqa: ARG002, N802 - gRPC's
        """Nothing: the protocol has it."""
        return GetModelMetadataResponse()


async def main() -> None:
    """Serve until killed."""
    order = received()
    server = grpc.aio.server()
    add_InferenceServiceServicer_to_server(Api(load(order), ThreadPoolExecutor(order.workers)), server)
    server.add_insecure_port(f"{HOST}:{order.ports[0]}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
