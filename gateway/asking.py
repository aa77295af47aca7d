"""Asking a model: one gRPC call to the least busy of its servers, and to another where that one can't take it."""

import asyncio
import math
import time
from contextlib import aclosing, suppress
from dataclasses import dataclass
from itertools import count
from types import TracebackType
from typing import Self

import structlog

from framemesh.errors import DeadlineError, FramemeshError, ModelUnavailableError, QueueFullError, ServerLostError
from framemesh.v1.answer_pb2 import AnswerOptions
from framemesh.v1.inference_service_pb2 import InferRequest, InferResponse, Priority
from gateway.registry import Registry
from gateway.servers import Server

log = structlog.get_logger()

_WATCH_SECONDS = 0.2
_LIVE_SECONDS = 5.0
_SUCCESSOR_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Load:
    """How busy a model's servers are.

    Attributes:
        images_at_once: How many images they take at once as they are now.
        in_flight: How many we have there.
        servers_away: How many of them are sent nothing, as they don't answer.
    """

    images_at_once: int
    in_flight: int
    servers_away: int


class Asker:
    """Calls model servers. Connections open on first use and close when their server is gone.

    Args:
        registry: Who serves what; told when a server goes away or comes back.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._servers: dict[str, Server] = {}
        self._looks: dict[str, asyncio.Task[None]] = {}
        self._live: dict[str, float] = {}
        self._turns = count()

    async def __aenter__(self) -> Self:
        self._watching = asyncio.create_task(self._watch(), name="asker")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = [self._watching, *self._looks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for server in self._servers.values():
            await server.close()

    def images_at_once(self, model: str, *, queued: bool = True) -> int:
        """How many images the model's servers take at once as they are now; 0 where none answers.

        Args:
            model: Its name.
            queued: Also those that wait at a server, as many as keep it busy; else only those that it works on.
        """
        return sum(
            server.limit.value if queued else min(server.limit.value, server.workers) for server in self._ready(model)
        )

    def load(self, model: str) -> Load:
        """How busy the model's servers are now."""
        known = [self._servers.get(replica.grpc_address) for replica in self._registry.serving(model)]
        used = [server for server in known if server is not None]
        return Load(
            self.images_at_once(model),
            in_flight=sum(server.in_flight for server in used),
            servers_away=sum(server.away for server in used),
        )

    def is_live(self, model: str) -> bool:
        """Whether anybody asked the model about the present within the last few seconds."""
        return time.monotonic() < self._live.get(model, -math.inf) + _LIVE_SECONDS

    async def ask(
        self,
        model: str,
        image: bytes,
        options: AnswerOptions,
        *,
        priority: Priority.ValueType,
        timeout: float,
        retry_lost: bool = True,
    ) -> InferResponse:
        """Run the model on an image.

        Args:
            model: Name of a deployed model.
            image: A whole encoded image.
            options: What is wanted of the answer.
            priority: Who goes first where images wait at the server.
            timeout: Seconds that it may take in all.
            retry_lost: Ask one more server where the first was lost with the image under way. The image may have been
                the reason, so no more than one.

        Raises:
            ModelUnavailableError: None of its servers can answer now.
            ServerLostError: Its server was lost with the image under way.
            DeadlineError: The time is up.
            FramemeshError: What the server itself says of the image or of its load.
        """
        self._note(model, priority)
        try:
            request = InferRequest(model=model, image=image, options=options, priority=priority)
            return await self._infer(model, request, timeout=timeout, retry_lost=retry_lost)
        finally:
            self._note(model, priority)  # again, as it may have taken long

    async def _infer(self, model: str, request: InferRequest, *, timeout: float, retry_lost: bool) -> InferResponse:
        deadline = time.monotonic() + timeout
        tried: set[Server] = set()
        last: FramemeshError | None = None
        while server := self._choose(model, tried) or await self._successor(model, tried, last, deadline):
            left = deadline - time.monotonic()
            if left <= 0:
                raise last or DeadlineError(f"model {model!r} did not answer within {timeout:.3g} s", model=model)
            tried.add(server)
            try:
                return await server.infer(request, timeout=left)
            except ServerLostError as error:
                if not retry_lost or isinstance(last, ServerLostError):
                    raise
                last = error
            except (ModelUnavailableError, QueueFullError) as error:
                last = last if isinstance(last, ServerLostError | QueueFullError) else error
        raise last or ModelUnavailableError(
            f"no server of model {model!r} answers yet: it may be loading; `framemesh models` shows its state",
            model=model,
        )

    def _note(self, model: str, priority: Priority.ValueType) -> None:
        if priority != Priority.PRIORITY_REPLAY:
            self._live[model] = time.monotonic()

    def _ready(self, model: str) -> list[Server]:
        servers = []
        for replica in self._registry.serving(model):
            workers = max(1, replica.worker_count)
            server = self._servers.get(replica.grpc_address)
            if server is None:
                server = self._servers[replica.grpc_address] = Server(replica.grpc_address, workers)
            elif server.workers != workers:  # another process, which took over the address
                server.restart(workers)
            if not server.away:
                servers.append(server)
        return servers

    def _choose(self, model: str, tried: set[Server]) -> Server | None:
        """The server with the least to do for its workers; of equals the one whose turn it is.

        A server that has just come has a low limit still, so by their limits it would get little for long; those that
        are at theirs come last all the same.
        """
        left = [server for server in self._ready(model) if server not in tried]
        if not left:
            return None
        chosen = min(
            left,
            key=lambda server: (
                server.in_flight >= server.limit.value,
                server.in_flight / server.workers,
                server.turn,
            ),
        )
        chosen.turn = next(self._turns)
        return chosen

    async def _successor(
        self, model: str, tried: set[Server], last: FramemeshError | None, deadline: float
    ) -> Server | None:
        """Where all servers that were asked are going, the one that comes: we may hear of it a moment later."""
        if type(last) is not ModelUnavailableError:
            return None
        patience = min(_SUCCESSOR_SECONDS, deadline - time.monotonic())
        with suppress(TimeoutError):
            async with asyncio.timeout(patience), aclosing(self._registry.changes()) as changes:
                async for _ in changes:
                    if (server := self._choose(model, tried)) is not None:
                        return server
        return None

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            try:
                await self._look_around()
            except Exception:  # or no server that is away would ever be found to be back
                log.exception("servers.watch_failed")

    async def _look_around(self) -> None:
        """Look after servers that are away or silent, and close the connections to those that are gone."""
        now = time.monotonic()
        known = self._registry.addresses()
        for address, server in list(self._servers.items()):
            if address in self._looks:
                continue
            if address not in known and not server.in_flight:
                del self._servers[address]
                await server.close()
            elif server.due(now):
                self._looks[address] = asyncio.create_task(self._look(server))

    async def _look(self, server: Server) -> None:
        try:
            if await server.look():
                self._registry.touch()
        except Exception:  # or one strange server would end the looking after all of them
            log.exception("server.look_failed", address=server.address)
        finally:
            del self._looks[server.address]
