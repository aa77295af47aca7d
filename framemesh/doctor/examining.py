"""All checks in order: the machine, NATS, the lake, the gateway, the services; what can't be asked is left out."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from functools import partial
from typing import Any

from nats.errors import Error as NatsError

from framemesh.bus import Bus, connect
from framemesh.doctor import disk, gateway, machine, nats, s3
from framemesh.doctor.findings import Finding, State, fine, wrong
from framemesh.doctor.places import Places
from framemesh.errors import ConfigurationError, FramemeshError
from framemesh.lake import Lake
from framemesh.mesh.joining import MeshState
from framemesh.rpc.channels import Tls

_LAST_PORT = 65_535


async def examine(places: Places, ports: Iterable[int] = ()) -> AsyncIterator[Finding]:
    """Yield each finding as it comes.

    Args:
        places: Where the mesh is.
        ports: Those that a mesh which is yet to be started is to have.
    """
    for check in _of_machine(places, ports):
        yield await asyncio.to_thread(check)
    if places.nats_url:
        async for finding in _of_nats(places.nats_url):
            yield finding
    if places.s3_endpoint:
        async for finding in _of_s3(places):
            yield finding
    if places.address:
        async for finding in _of_gateway(places):
            yield finding
    if places.state is not None:
        async for finding in _of_services(places.state):
            yield finding


def _of_machine(places: Places, ports: Iterable[int]) -> Iterator[Callable[[], Finding]]:
    yield machine.python
    yield lambda: machine.packages(machine.needed_by("mesh" if places.data_dir else "service"))
    if places.data_dir is None:
        return
    if not (places.nats_url and places.s3_endpoint):
        yield machine.programs
    if places.state is None:
        yield from (partial(machine.port, port) for port in ports)
        yield machine.memory
        yield partial(disk.writable, places.data_dir)
        yield partial(disk.room, places.data_dir, os.environ)
    else:
        yield partial(disk.private, places.data_dir)
        yield partial(disk.left, places.data_dir)
    yield partial(disk.filesystem, places.data_dir)
    yield partial(disk.syncs, places.data_dir)


async def _of_nats(url: str) -> AsyncIterator[Finding]:
    infos: list[dict[str, Any]] = []
    named = nats.well_formed(url)
    yield named
    if named.state is State.WRONG:
        return
    for server in nats.servers(url):
        async for finding in _of_nats_server(server, infos):
            yield finding
    if any(info.get("jetstream") for info in infos):
        try:
            async with connect(url, name="doctor") as bus:
                yield fine("NATS credentials", "the server lets us in")
                async for finding in _of_bus(bus):
                    yield finding
        except ConfigurationError as error:
            yield wrong("NATS credentials", str(error), "correct user and password in FRAMEMESH_NATS_URL")
        except (FramemeshError, NatsError, TimeoutError) as error:
            words = f"the server stopped answering: {str(error) or type(error).__name__}"
            yield wrong("NATS credentials", words, "see its log")


async def _of_nats_server(server: nats.Server, infos: list[dict[str, Any]]) -> AsyncIterator[Finding]:
    """Adds what the server says of itself to `infos`."""
    found = await asyncio.to_thread(nats.reachable, server)
    yield found
    if found.state is State.WRONG:
        return
    found, info = await asyncio.to_thread(nats.greeting, server)
    yield found
    if not info:
        return
    infos.append(info)
    for check in nats.checks_of(info):
        yield check()
    encrypted = await asyncio.to_thread(nats.encryption, server, info)
    if encrypted is not None:
        yield encrypted


async def _of_bus(bus: Bus) -> AsyncIterator[Finding]:
    allowed = await nats.permissions(bus)
    yield allowed
    if allowed.state is not State.FINE:
        return
    yield await nats.storage(bus)
    found, frames = await nats.stream_names(bus)
    yield found
    if frames is not None:
        yield nats.backlog(frames)
    clock = await nats.clock(bus)
    if clock is not None:
        yield clock


async def _of_s3(places: Places) -> AsyncIterator[Finding]:
    endpoint = places.s3_endpoint
    for check in (s3.well_formed, s3.reachable, s3.encryption):
        found: Finding | None = await asyncio.to_thread(check, endpoint)
        if found is not None:
            yield found
            if found.state is State.WRONG:
                return
    found, clock = await s3.speaks_http(endpoint)
    yield found
    if clock is not None:
        yield clock
    if found.state is State.WRONG:
        return
    if not (places.s3_access_key and places.s3_secret_key):
        yield wrong("S3 keys", "there are none", "set FRAMEMESH_S3_ACCESS_KEY and FRAMEMESH_S3_SECRET_KEY")
        return
    keys: dict[str, Any] = {"access_key": places.s3_access_key, "secret_key": places.s3_secret_key}
    lake = Lake(endpoint, **keys, region=places.s3_region, bucket=places.s3_bucket, requests=1)
    found = await s3.credentials(lake, places.s3_bucket)
    yield found
    if found.state is State.FINE:
        yield await s3.keeps(lake)


async def _of_gateway(places: Places) -> AsyncIterator[Finding]:
    scheme, _, rest = places.address.rpartition("://")
    address = rest.rstrip("/")
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or int(port) > _LAST_PORT:
        yield wrong("gateway", f"{address!r} is no address", "write host:port, or https://host:port")
        return
    host = host.strip("[]")
    encrypted = scheme == "https" or places.tls_ca_file is not None
    found = await asyncio.to_thread(gateway.reachable, host, int(port))
    yield found
    if found.state is State.WRONG:
        return
    if encrypted:
        found = await asyncio.to_thread(gateway.encryption, host, int(port), places.tls_ca_file)
        yield found
        if found.state is State.WRONG:
            return
    tls: Tls = (places.tls_ca_file or True) if encrypted else (False if scheme == "http" else None)
    found, status = await gateway.answers(address, token=places.token, tls=tls)
    yield found
    if status is not None:
        for finding in gateway.problems(status):
            yield finding
        yield gateway.future_cameras(status)


async def _of_services(state: MeshState) -> AsyncIterator[Finding]:
    yield gateway.processes(state.processes)
    for name, address in state.http.items():
        yield await gateway.service(name, address)
