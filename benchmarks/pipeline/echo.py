"""`python -m benchmarks.pipeline.echo MODEL PORT`: a model server that answers at once and costs next to nothing.

What is measured with it is everything but decoding and inference.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from framemesh.mesh.servers import HOST, listens
from framemesh.mesh.supervision import ProcessSpec
from framemesh.rpc.server import serving
from framemesh.service import running, stop_signals
from framemesh.v1.answer_pb2 import Answer, Classification, InferenceTiming, Label
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
from framemesh.v1.model_pb2 import ReplicaState
from model_server.announcing import Announcer, Presence

_WORKERS = 4
_LABELS = [
    Label(index=index, name=f"class {index}", score=0.5**index) for index in range(5)
]  # as many as a real answer


class _Echo(InferenceServiceServicer):
    async def Infer(self, request: InferRequest, context: Any) -> InferResponse:  # noqa: ARG002, N802 - gRPC's own
        return InferResponse(
            model_version="echo",
            answer=Answer(classification=Classification(labels=_LABELS)),
            timing=InferenceTiming(batch_size=1),
        )

    async def GetModelMetadata(  # noqa: N802
        self,
        request: GetModelMetadataRequest,  # noqa: ARG002
        context: Any,  # noqa: ARG002
    ) -> GetModelMetadataResponse:
        return GetModelMetadataResponse(model_version="echo")


def echo_server(model: str, port: int, nats_url: str) -> ProcessSpec:
    """An echo as a process; `nats_url` is where it is announced."""

    async def ready() -> bool:
        return listens(port)

    argv = (sys.executable, "-m", "benchmarks.pipeline.echo", model, str(port))
    path = f"{Path.cwd()}:{os.environ.get('PYTHONPATH', '')}"
    return ProcessSpec(f"echo-{model}", argv, {"FRAMEMESH_NATS_URL": nats_url, "PYTHONPATH": path}, ready)


async def main(model: str, port: int) -> None:
    """Serve until a signal."""
    presence = Presence(model, "0", workers=_WORKERS)
    announcer = Announcer(os.environ["FRAMEMESH_NATS_URL"], presence)
    services = {"framemesh.v1.InferenceService": lambda server: add_InferenceServiceServicer_to_server(_Echo(), server)}
    with stop_signals() as stopping:
        async with running(announcer, drain_seconds=2), serving(f"{HOST}:{port}", services, drain_seconds=1) as server:
            await server.set_serving(serving=True)
            presence.open(f"{HOST}:{server.port}")
            presence.become(ReplicaState.REPLICA_STATE_SERVING, version="echo")
            await stopping.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
