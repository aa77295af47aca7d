"""Asking a model: one gRPC call to the least busy of its servers, and to another where that one is gone."""

import asyncio
import math
import time
from collections import Counter
from types import TracebackType
from typing import Self

import grpc

from framemesh.errors import DeadlineError, FramemeshError, ModelUnavailableError, QueueFullError
from framemesh.rpc.channels import open_channel
from framemesh.rpc.status import from_rpc_error
from framemesh.v1.answer_pb2 import AnswerOptions
from framemesh.v1.inference_service_pb2 import InferRequest, InferResponse, Priority
from framemesh.v1.inference_service_pb2_grpc import InferenceServiceStub
from framemesh.v1.model_pb2 import ModelReplica
from gateway.registry import Registry

_LIVE_SECONDS = 5.0


class Asker:
    """Calls model servers. Channels open on first use and close when their server is gone."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._in_flight: Counter[str] = Counter()
        self._live: dict[str, float] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for channel in self._channels.values():
            await channel.close()

    def images_at_once(self, model: str) -> int:
        """How many images the model's servers that answer now run at once; 0 where none does."""
        return sum(max(1, replica.worker_count) for replica in self._registry.serving(model))

    def is_live(self, model: str) -> bool:
        """Whether anybody asked the model about the present within the last few seconds."""
        return time.monotonic() < self._live.get(model, -math.inf) + _LIVE_SECONDS

    async def ask(
        self, model: str, image: bytes, options: AnswerOptions, *, priority: Priority.ValueType, timeout: float
    ) -> InferResponse:
        """Run the model on an image.

        Args:
            model: Name of a deployed model.
            image: A whole encoded image.
            options: What is wanted of the answer.
            priority: Who goes first where images wait at the server.
            timeout: Seconds that it may take in all.

        Raises:
            ModelUnavailableError: None of its servers can answer now.
            DeadlineError: The time is up.
            FramemeshError: What the server itself says of the image or of its load.
        """
        request = InferRequest(model=model, image=image, options=options, priority=priority)
        self._note(model, priority)
        tried: set[str] = set()
        last: FramemeshError | None = None
        try:
            async with asyncio.timeout(timeout):
                while replica := self._least_busy(model, tried):
                    tried.add(replica.grpc_address)
                    try:
                        return await self._call(replica.grpc_address, request, timeout=timeout)
                    except (ModelUnavailableError, QueueFullError) as error:
                        last = error
        except TimeoutError:
            last = last or DeadlineError(f"model {model!r} did not answer within {timeout:.3g} s", model=model)
        finally:
            self._note(model, priority)  # again, as it may have taken long
        raise last or ModelUnavailableError(
            f"no server of model {model!r} answers yet: it may be loading; `framemesh models` shows its state",
            model=model,
        )

    async def forget_gone(self) -> None:
        """Close the channels of servers that are no longer known."""
        known = {replica.grpc_address for name in self._registry.specs() for replica in self._registry.serving(name)}
        for address in [address for address in self._channels if address not in known and not self._in_flight[address]]:
            await self._channels.pop(address).close()

    def _note(self, model: str, priority: Priority.ValueType) -> None:
        if priority != Priority.PRIORITY_REPLAY:
            self._live[model] = time.monotonic()

    def _least_busy(self, model: str, tried: set[str]) -> ModelReplica | None:
        left = [replica for replica in self._registry.serving(model) if replica.grpc_address not in tried]
        return min(left, key=lambda replica: self._in_flight[replica.grpc_address], default=None)

    async def _call(self, address: str, request: InferRequest, *, timeout: float) -> InferResponse:
        channel = self._channels.get(address)
        if channel is None:
            channel = self._channels[address] = open_channel(address)
        self._in_flight[address] += 1
        try:
            return await InferenceServiceStub(channel).Infer(request, timeout=timeout)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        finally:
            self._in_flight[address] -= 1
