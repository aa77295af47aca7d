"""One model server as the gateway sees it: the connection, how much to send, and whether to leave it alone for now."""

import asyncio
import time

import grpc
import structlog
from grpc import ChannelConnectivity, StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc

from framemesh.errors import DeadlineError, FramemeshError, ModelUnavailableError, QueueFullError, ServerLostError
from framemesh.rpc.channels import open_channel
from framemesh.rpc.status import from_rpc_error
from framemesh.telemetry import tracing
from framemesh.v1.answer_pb2 import InferenceTiming
from framemesh.v1.inference_service_pb2 import InferRequest, InferResponse, Priority
from framemesh.v1.inference_service_pb2_grpc import InferenceServiceStub
from framemesh.waiting import Backoff
from gateway.limiting import Limit

log = structlog.get_logger()

_CONNECT_SECONDS = 2.0
_HEALTH_SECONDS = 3.0
_QUIET_SECONDS = 2.0
"""A call that has gone on for so long makes us ask whether its server still lives."""
_AWAY_SECONDS = (0.2, 2.0)  # first and longest wait between looks at a server that is away
_DETAILS = "grpc-status-details-bin"
_INFER = "framemesh.v1.InferenceService/Infer"

Call = grpc.aio.UnaryUnaryCall[InferRequest, InferResponse]


class Server:
    """A model server.

    It is away, and is sent nothing, from a connection that failed, or from a health check that nobody answered, until
    a health check is answered. Then it gets one image first.

    Args:
        address: Where it answers, as `host:port`.
        workers: How many images it runs at once, from 1.
    """

    def __init__(self, address: str, workers: int) -> None:
        self.address = address
        self.workers = workers
        self.limit = Limit(workers)
        self.in_flight = 0
        self.turn = 0
        """Goes up each time that it is chosen: of equals, the one with the lowest is next."""
        self.away = False
        self._channel = open_channel(address)
        self._stub = InferenceServiceStub(self._channel)
        self._health = health_pb2_grpc.HealthStub(self._channel)
        self._calls: dict[Call, float] = {}  # when each began, the oldest first
        self._cut: set[Call] = set()
        self._looked = 0.0
        self._backoff = Backoff(*_AWAY_SECONDS)
        self._pause = 0.0

    def restart(self, workers: int) -> None:
        """Begin anew: the server runs another number of images at once than before."""
        self.workers = workers
        self.limit = Limit(workers)

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    async def infer(self, request: InferRequest, *, timeout: float) -> InferResponse:
        """Run the model on an image.

        Raises:
            ModelUnavailableError: There is no connection, or the server says that it drains or loads.
            ServerLostError: The connection broke, or the server froze, while it had the image.
            DeadlineError: The time is up.
            FramemeshError: What the server says of the image or of its load.
        """
        self.in_flight += 1
        try:
            with tracing.span(_INFER, kind="CLIENT", model=request.model, server=self.address):
                await self._connected(timeout)
                return await self._infer(request, timeout)
        finally:
            self.in_flight -= 1

    def due(self, now: float) -> bool:
        """Whether to look after the server, by `time.monotonic`: it is away, or has not answered for a while."""
        if self.away:
            return now >= self._looked + self._pause
        oldest = next(iter(self._calls.values()), now)
        return now >= max(oldest, self._looked) + _QUIET_SECONDS

    async def look(self) -> bool:
        """Check the server's health; returns whether it has gone away or come back by that."""
        alive = await self._answers()
        self._looked = time.monotonic()
        if alive != self.away:
            self._pause = self._backoff.next_seconds()
            return False
        if alive:
            self.away = False
            log.info("server.back", address=self.address)
        else:
            self._leave("it does not answer a health check")
            self._cut.update(self._calls)
            for call in self._cut:
                call.cancel()
        return True

    async def _infer(self, request: InferRequest, timeout: float) -> InferResponse:
        call = self._stub.Infer(request, timeout=timeout, metadata=tracing.metadata())
        in_flight = self.in_flight
        self._calls[call] = time.monotonic()
        try:
            response: InferResponse = await call
        except grpc.RpcError as error:
            raise self._told(error, timeout) from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if call not in self._cut or (task is not None and task.cancelling()):
                raise  # the caller's own
            raise self._lost("it does not answer a health check") from None
        finally:
            del self._calls[call]
            self._cut.discard(call)
        if request.priority != Priority.PRIORITY_REPLAY:  # that waits for others by rights
            waited, worked = _seconds(response.timing)
            self.limit.answered(waited=waited, worked=worked, in_flight=in_flight)
        return response

    async def _connected(self, timeout: float) -> None:
        """Wait until there is a connection: one that breaks later broke with the image under way."""
        state = self._channel.get_state(try_to_connect=True)
        if state is ChannelConnectivity.READY:
            return
        try:
            async with asyncio.timeout(min(timeout, _CONNECT_SECONDS)):
                while state not in {ChannelConnectivity.READY, ChannelConnectivity.TRANSIENT_FAILURE}:
                    await self._channel.wait_for_state_change(state)
                    state = self._channel.get_state(try_to_connect=True)
        except TimeoutError:
            if timeout < _CONNECT_SECONDS:
                raise _late(timeout) from None
        if state is not ChannelConnectivity.READY:
            self._leave("no connection")
            raise ModelUnavailableError(f"no connection to the model server at {self.address}", address=self.address)

    def _told(self, error: grpc.RpcError, timeout: float) -> FramemeshError:
        """What an error amounts to: the server's own words, or what became of it."""
        call = error if isinstance(error, grpc.aio.AioRpcError) else None
        if call is None or any(key == _DETAILS for key, _ in call.trailing_metadata() or ()):
            told = from_rpc_error(error)
            if isinstance(told, QueueFullError):
                self.limit.refused(time.monotonic())
            return told
        match call.code():
            case StatusCode.UNAVAILABLE | StatusCode.CANCELLED:
                self._leave("the connection broke")
                return self._lost(call.details() or "the connection broke")
            case StatusCode.DEADLINE_EXCEEDED:
                return _late(timeout)
            case _:
                return from_rpc_error(error)

    def _lost(self, why: str) -> ServerLostError:
        return ServerLostError(
            f"the model server at {self.address} was lost with the image under way: {why}", address=self.address
        )

    def _leave(self, why: str) -> None:
        if not self.away:
            log.warning("server.away", address=self.address, why=why)
            self.away = True
            self._backoff.reset()
            self._looked, self._pause = time.monotonic(), self._backoff.next_seconds()
            self.limit.restart()

    async def _answers(self) -> bool:
        try:
            await self._health.Check(health_pb2.HealthCheckRequest(), timeout=_HEALTH_SECONDS)  # type: ignore[attr-defined]
        except grpc.aio.AioRpcError as error:
            return error.code() not in {StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED, StatusCode.CANCELLED}
        return True


def _late(timeout: float) -> DeadlineError:
    return DeadlineError(f"the model did not answer within {timeout:.3g} s")


def _seconds(timing: InferenceTiming) -> tuple[float, float]:
    """How long an image waited at its server, and how long work on it took."""
    waited, *worked = (
        spent.seconds + spent.nanos / 1e9
        for spent in (
            timing.queue_duration,
            timing.preprocess_duration,
            timing.inference_duration,
            timing.postprocess_duration,
        )
    )
    return waited, sum(worked)
