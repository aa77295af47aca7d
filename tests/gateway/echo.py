"""A model server whose answers a test chooses. Processes of tests import this and little else, as they start often."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from framemesh.v1 import inference_service_pb2 as pb2
from framemesh.v1 import inference_service_pb2_grpc as pb2_grpc
from framemesh.v1.answer_pb2 import Answer, Classification, InferenceTiming, Label, Text


@dataclass
class EchoModel(pb2_grpc.InferenceServiceServicer):
    """Answers with the image's size, unless the test wants something else."""

    name: str
    version: str = "1"
    seen: list[bytes] = field(default_factory=list)
    requests: list[pb2.InferRequest] = field(default_factory=list)
    arrived: int = 0
    cancelled: int = 0
    delay: float = 0.0
    fails: Callable[[bytes], Exception | None] = lambda _: None
    hangs: Callable[[bytes], bool] = lambda _: False
    text: str | None = None
    timing: InferenceTiming = field(default_factory=lambda: InferenceTiming(batch_size=1))
    open_gate: asyncio.Event = field(default_factory=asyncio.Event)
    at_once: Counter[int] = field(default_factory=Counter)
    """Calls under way, by priority."""
    most_at_once: dict[int, int] = field(default_factory=dict)

    async def Infer(self, request: pb2.InferRequest, context: Any) -> pb2.InferResponse:  # noqa: N802
        self.arrived += 1
        self.at_once[request.priority] += 1
        self.most_at_once[request.priority] = max(
            self.at_once[request.priority], self.most_at_once.get(request.priority, 0)
        )
        try:
            await self.open_gate.wait()
            await asyncio.sleep(self.delay)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.at_once[request.priority] -= 1
        self.seen.append(request.image)
        self.requests.append(request)
        if self.hangs(request.image):
            await asyncio.Event().wait()
        if error := self.fails(request.image):
            raise error
        if self.text is not None:
            return pb2.InferResponse(model_version="1", answer=Answer(text=Text(text=self.text)))
        label = Label(index=0, name=f"{len(request.image)} bytes", score=1.0)
        return pb2.InferResponse(
            model_version=self.version,
            answer=Answer(classification=Classification(labels=[label])),
            timing=self.timing,
        )

    async def GetModelMetadata(  # noqa: N802
        self, request: pb2.GetModelMetadataRequest, context: Any
    ) -> pb2.GetModelMetadataResponse:
        return pb2.GetModelMetadataResponse(model=self.name, model_version=self.version)
