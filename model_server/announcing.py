"""Telling gateways that this server is there, and what it is doing."""

import asyncio
import time

import nats.errors
import structlog

from framemesh.bus import Bus, connect, routes
from framemesh.bus.loglines import LogLines
from framemesh.bus.streams import ROUTES_BUCKET
from framemesh.errors import FramemeshError
from framemesh.frames import timestamp
from framemesh.service import running
from framemesh.v1.model_pb2 import ModelReplica, ReplicaState, Runtime
from framemesh.waiting import happens

log = structlog.get_logger()

_PROBLEMS = (nats.errors.Error, TimeoutError, OSError)
_FAREWELL_SECONDS = 2.0


class Presence:
    """What the server is and does at the moment, for those who ask and for the announcer."""

    def __init__(self, model: str, replica: str, *, workers: int) -> None:
        self.replica = ModelReplica(
            model=model,
            replica=replica,
            state=ReplicaState.REPLICA_STATE_PREPARING,
            worker_count=workers,
            start_time=timestamp(time.time_ns()),
        )
        self.changed = asyncio.Event()
        self.opened = asyncio.Event()

    @property
    def state(self) -> ReplicaState.ValueType:
        """What the server is doing."""
        return self.replica.state

    def become(
        self,
        state: ReplicaState.ValueType,
        *,
        version: str = "",
        runtime: Runtime.ValueType = Runtime.RUNTIME_UNSPECIFIED,
    ) -> None:
        """Do something else from now on, with the version of the weights and what runs them once they are known."""
        self.replica.state = state
        self.replica.model_version = version or self.replica.model_version
        self.replica.runtime = runtime or self.replica.runtime
        self.changed.set()

    def open(self, address: str) -> None:
        """Answer calls at an address, as `host:port`."""
        self.replica.grpc_address = address
        self.opened.set()


class Announcer:
    """Keeps the server's entry in NATS. An outage is logged and waited out: it never stops the serving."""

    name = "announcer"

    def __init__(self, url: str, presence: Presence) -> None:
        self._url = url
        self._presence = presence
        self._stopping = asyncio.Event()
        self._silent = False

    async def run(self) -> None:
        """Announce every change at once and renew the entry every 2 s until stopped; then delete it."""
        async with asyncio.TaskGroup() as group:
            announcing = group.create_task(self._announce())
            await self._stopping.wait()
            announcing.cancel()  # it may be waiting for a server that isn't there

    def stop(self) -> None:
        """Delete the entry."""
        self._stopping.set()

    async def _announce(self) -> None:
        await self._presence.opened.wait()
        while not self._stopping.is_set():  # looked at here too, as nats-py may forget a cancellation
            try:
                model = self._presence.replica.model
                async with (
                    connect(self._url, name=f"model {model}") as bus,
                    running(LogLines(bus, model=model), drain_seconds=_FAREWELL_SECONDS),
                ):
                    try:
                        await self._renew(bus)
                    finally:
                        await self._delete(bus)
            except FramemeshError as error:  # for this service NATS is no condition: it may come yet
                self._log(error)
                await asyncio.sleep(routes.HEARTBEAT_SECONDS)

    async def _renew(self, bus: Bus) -> None:
        """Write the entry again and again, until the connection is beyond repair."""
        changed = self._presence.changed
        while not (bus.closed.is_set() or self._stopping.is_set()):
            changed.clear()
            entry = routes.dump(self._presence.replica, timestamp(time.time_ns()))
            try:
                bucket = await bus.js.key_value(ROUTES_BUCKET)  # the gateway makes it: it may not be there yet
                await bucket.put(routes.route_key(self._presence.replica), entry)
                self._silent = False
            except _PROBLEMS as error:
                self._log(error)
            await happens(changed, within=routes.HEARTBEAT_SECONDS)

    async def _delete(self, bus: Bus) -> None:
        try:
            async with asyncio.timeout(_FAREWELL_SECONDS):
                bucket = await bus.js.key_value(ROUTES_BUCKET)
                await bucket.delete(routes.route_key(self._presence.replica))
        except _PROBLEMS as error:
            self._log(error)

    def _log(self, error: Exception) -> None:
        """Once an outage, not once a heartbeat."""
        if not self._silent:
            log.warning("announcing.failed", error=str(error) or type(error).__name__)
        self._silent = True
