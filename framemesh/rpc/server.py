"""A gRPC server with health, reflection and one way to report errors."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from framemesh.errors import ConfigurationError
from framemesh.limits import MAX_IMAGE_BYTES
from framemesh.rpc.calls import EVERYBODY, Admission, Interceptor
from framemesh.rpc.draining import Calls

MAX_MESSAGE_BYTES = 2 * MAX_IMAGE_BYTES
"""Over this gRPC itself refuses, before any of it is held; up to this we say what is wrong with the image."""

_GOODBYE_SECONDS = 0.5
"""For callers to hang up by themselves, once told that the server goes: those cut off log it as a fault."""

Register = Callable[[grpc.aio.Server], None]


@dataclass(frozen=True, slots=True)
class RpcServer:
    """A server that listens. Health says NOT_SERVING until `set_serving`."""

    port: int
    _health: health.aio.HealthServicer
    _names: tuple[str, ...]

    async def set_serving(self, *, serving: bool) -> None:
        """Tell every health checker and watcher, for the whole server, each service and each model."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", *self._names):
            await self._health.set(name, status)


@dataclass(frozen=True, slots=True)
class Connections:
    """How a server looks after its callers' connections.

    Attributes:
        credentials: TLS; none means plain text.
        keepalive_seconds: How often a silent connection is tried, so that a caller that is gone without a word is
            noticed, and no gateway between forgets the connection.
        keepalive_timeout_seconds: How long it may then stay silent before it is closed.
        max_age_seconds: When a connection is replaced by a new one, so that callers spread over all replicas behind
            one address; 0 means never. What is under way on the old one goes on.
        max_age_grace_seconds: How long it may go on; 0 means until it ends.
        unread_bytes: What a call may send before somebody reads it, so that one which will be refused fills no memory
            until it is; 0 leaves that to gRPC's bandwidth probe, which costs less and lets whole images in wherever the
            server is slow.
    """

    credentials: grpc.ServerCredentials | None = None
    keepalive_seconds: float = 60.0
    keepalive_timeout_seconds: float = 20.0
    max_age_seconds: float = 0.0
    max_age_grace_seconds: float = 0.0
    unread_bytes: int = 0

    def options(self) -> list[tuple[str, int]]:
        """The same as gRPC names it."""
        timeout_ms = round(self.keepalive_timeout_seconds * 1e3)
        options = [
            ("grpc.keepalive_time_ms", round(self.keepalive_seconds * 1e3)),
            ("grpc.keepalive_timeout_ms", timeout_ms),
            ("grpc.http2.ping_timeout_ms", timeout_ms),  # one minute unless told, whatever the line above says
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),  # else our clients' keepalive counts as abuse
        ]
        if self.max_age_seconds:
            options.append(("grpc.max_connection_age_ms", round(self.max_age_seconds * 1e3)))
        if self.max_age_grace_seconds:
            options.append(("grpc.max_connection_age_grace_ms", round(self.max_age_grace_seconds * 1e3)))
        if self.unread_bytes:
            options += [("grpc.http2.lookahead_bytes", self.unread_bytes), ("grpc.http2.bdp_probe", 0)]
        return options


@asynccontextmanager
async def serving(
    address: str,
    services: dict[str, Register],
    *,
    drain_seconds: float,
    models: Sequence[str] = (),
    connections: Connections = Connections(),
    admission: Admission = EVERYBODY,
) -> AsyncIterator[RpcServer]:
    """Serve around the block. On leaving: health turns NOT_SERVING, new calls are refused, those under way finish.

    Args:
        address: `host:port`; port 0 lets the system choose.
        services: Full names of the services, each with what adds it to the server.
        drain_seconds: How long calls under way may take before they are cut.
        models: Names under which health is told too.
        connections: How they are encrypted and kept.
        admission: Which calls are let in.

    Raises:
        ConfigurationError: The address can't be listened on.
    """
    calls = Calls()
    server = grpc.aio.server(
        interceptors=[Interceptor(calls, admission)],
        options=[
            ("grpc.so_reuseport", 0),  # else two servers share one port, and neither says so
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", -1),
            *connections.options(),
        ],
    )
    for register in services.values():
        register(server)
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    reflection.enable_server_reflection((*services, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    try:
        if connections.credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, connections.credentials)
    except RuntimeError as error:
        raise ConfigurationError(
            f"can't serve gRPC on {address!r}: it is in use or not this machine's; choose a free host:port",
            address=address,
        ) from error
    started = RpcServer(port, servicer, (*services, *models))
    await started.set_serving(serving=False)
    await server.start()
    try:
        yield started
    finally:
        await servicer.enter_graceful_shutdown()
        calls.draining.set()
        await calls.settled(drain_seconds)
        await server.stop(min(_GOODBYE_SECONDS, drain_seconds) or None)
