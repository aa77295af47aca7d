"""`python -m benchmarks.pipeline.echo NAME...`: model servers that answer at once, one for each name, in one process.

Each has a port of its own and its entry in the routes, as a real server has; `FRAMEMESH_NATS_URL` says where those are.
"""

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from typing import Any

from framemesh.mesh.servers import HOST
from framemesh.rpc.server import serving
from framemesh.service import running, stop_signals
from framemesh.v1 import inference_service_pb2 as pb2
from framemesh.v1 import inference_service_pb2_grpc as pb2_grpc
from framemesh.v1.answer_pb2 import Answer, Classification, InferenceTiming, Label
from framemesh.v1.model_pb2 import ReplicaState
from model_server.announcing import Announcer, Presence

_WORKERS = 2
_ANSWER = pb2.InferResponse(
    model_version="echo",
    answer=Answer(
        classification=Classification(labels=[Label(index=n, name=f"label {n}", score=0.2) for n in range(5)])
    ),
    timing=InferenceTiming(batch_size=1),
)


class _Echo(pb2_grpc.InferenceServiceServicer):
    async def Infer(self, request: pb2.InferRequest, context: Any) -> pb2.InferResponse:  # noqa: ARG002, N802
        return _ANSWER

    async def GetModelMetadata(  # noqa: N802
        self,
        request: pb2.GetModelMetadataRequest,  # noqa: ARG002
        context: Any,  # noqa: ARG002
    ) -> pb2.GetModelMetadataResponse:
        return pb2.GetModelMetadataResponse(model_version="echo")


async def main(names: list[str]) -> None:
    """Serve until a signal comes."""
    with stop_signals() as stopping:
        async with AsyncExitStack() as stack:
            for name in names:
                add = {
                    "framemesh.v1.InferenceService": lambda server: pb2_grpc.add_InferenceServiceServicer_to_server(
                        _Echo(), server
                    )
                }
                server = await stack.enter_async_context(serving(f"{HOST}:0", add, drain_seconds=0))
                await server.set_serving(serving=True)
                presence = Presence(name, "0", workers=_WORKERS)
                presence.open(f"{HOST}:{server.port}")
                presence.become(ReplicaState.REPLICA_STATE_SERVING, version="echo")
                announcer = Announcer(os.environ["FRAMEMESH_NATS_URL"], presence)
                await stack.enter_async_context(running(announcer, drain_seconds=1))
            await stopping.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
