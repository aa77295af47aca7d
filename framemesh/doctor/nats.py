"""NATS: whether it is there, is NATS, lets us in, and can hold what is sent to it."""

import json
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import nats.errors

from framemesh.bus import Bus, streams
from framemesh.bus.states import StreamState, stream_state
from framemesh.bus.streams import MAX_PAYLOAD_BYTES
from framemesh.doctor import clocks, sockets
from framemesh.doctor.findings import Finding, advice, fine, wrong
from framemesh.errors import BusUnavailableError
from framemesh.words import size

LEAST_VERSION = (2, 10, 23)
"""Servers before it lose or double what they acknowledged: nats-server#6888."""
_ASK_SECONDS = 3.0
_NEARLY_FULL, _FULL = 0.8, 0.95


@dataclass(frozen=True, slots=True)
class Server:
    """One of the servers that a URL names."""

    host: str
    port: int
    tls: bool


def servers(url: str) -> list[Server]:
    """Those of a URL, or of several with commas between them.

    Raises:
        ValueError: One can't be read; its words may hold a part of the password.
    """
    named = [part.strip() for part in url.split(",")]
    parts = [urlsplit(part if "://" in part else f"nats://{part}") for part in named]
    if any(part.path.strip("/") for part in parts):
        raise ValueError("a path: the password has a sign that ended it early")
    return [Server(part.hostname or "", part.port or 4222, part.scheme == "tls") for part in parts]


def well_formed(url: str) -> Finding:
    """Whether the URL is one at all. It is not shown: what can't be read of it may be the password."""
    try:
        found = [f"{server.host}:{server.port}" for server in servers(url) if server.host]
    except ValueError:
        found = []
    if len(found) <= url.count(","):
        mend = "write nats://USER:PASSWORD@HOST:4222 in FRAMEMESH_NATS_URL, signs in the password as %xx (/ is %2F)"
        return wrong("NATS address", "FRAMEMESH_NATS_URL is no address", mend)
    return fine("NATS address", f"{', '.join(found)} is named")


def reachable(server: Server) -> Finding:
    """Whether its port takes connections."""
    return sockets.listening("NATS", server.host, server.port, "start NATS there, or correct FRAMEMESH_NATS_URL")


def greeting(server: Server) -> tuple[Finding, dict[str, Any]]:
    """Whether what listens is NATS, and what it says of itself."""
    place = f"{server.host}:{server.port}"
    mend = "FRAMEMESH_NATS_URL must name the port for clients, which is 4222 unless the server is told otherwise"
    try:
        with socket.create_connection((server.host, server.port), sockets.SECONDS) as plain:
            line = _line(plain)
    except OSError as error:
        return wrong("NATS protocol", f"{place} says nothing: {error}", mend), {}
    try:
        info: dict[str, Any] = json.loads(line.removeprefix(b"INFO ")) if line.startswith(b"INFO {") else {}
    except ValueError:
        info = {}
    if not info:
        return wrong("NATS protocol", f"what listens on {place} is no NATS server", mend), {}
    return fine("NATS protocol", f"{place} is NATS {info.get('version', 'of an unknown version')}"), info


def version(info: dict[str, Any]) -> Finding:
    """Whether the server is one that keeps what it acknowledged."""
    found = str(info.get("version", "0"))
    numbers = tuple(int(part) for part in found.partition("-")[0].split(".") if part.isdigit())
    if numbers < LEAST_VERSION:
        wanted = ".".join(map(str, LEAST_VERSION))
        return wrong("NATS version", f"the server is {found}; before {wanted} streams may lose messages", "update it")
    return fine("NATS version", f"{found} is new enough")


def jetstream(info: dict[str, Any]) -> Finding:
    """Whether the server keeps streams."""
    if not info.get("jetstream"):
        return wrong(
            "JetStream", "the server has JetStream switched off", "give it a block `jetstream { store_dir: ... }`"
        )
    return fine("JetStream", "the server has JetStream")


def payload(info: dict[str, Any]) -> Finding:
    """Whether the largest images fit."""
    found = int(info.get("max_payload", 0))
    if found < MAX_PAYLOAD_BYTES:
        words = f"the server takes messages of up to {size(found)}: larger images are made smaller, or refused"
        return advice("NATS max_payload", words, f"set max_payload: {MAX_PAYLOAD_BYTES} in its configuration")
    return fine("NATS max_payload", f"messages may have {size(found)}")


def encryption(server: Server, info: dict[str, Any]) -> Finding | None:
    """Whether both ends agree on TLS, and what the certificate is worth; none where neither wants it."""
    place = f"{server.host}:{server.port}"
    offered = bool(info.get("tls_required") or info.get("tls_available"))
    if server.tls and not offered:
        return wrong("NATS TLS", f"the URL says tls:// and {place} has no TLS", "write nats://, or turn TLS on there")
    if not offered:
        return None
    return sockets.certificate("NATS TLS", server.host, server.port, greeting=_read_line)


async def permissions(bus: Bus) -> Finding:
    """Whether this user may ask of streams, as all services but a camera agent must."""
    try:
        await bus.client.request("$JS.API.INFO", b"", timeout=_ASK_SECONDS)
    except (nats.errors.Error, TimeoutError):
        return advice(
            "NATS permissions",
            "this user may not ask about streams: right for a camera agent, and for no other service",
            "give the services' user `$JS.API.>`, as docs/running.md says",
        )
    return fine("NATS permissions", "this user may ask about streams")


async def storage(bus: Bus) -> Finding:
    """Whether JetStream has room left for what it may keep."""
    info = await bus.js.account_info()
    limit, used = info.limits.max_storage, info.storage
    if limit and limit > 0 and used > _NEARLY_FULL * limit:
        words = f"the account's streams take {size(used)} of {size(limit)}"
        return wrong("JetStream storage", words, "give it more disk (max_file_store, or the account's limit)")
    return fine("JetStream storage", f"streams take {size(used)}")


async def stream_names(bus: Bus) -> tuple[Finding, StreamState | None]:
    """Whether our streams are there, and how the stream of frames is."""
    missing, frames = [], None
    for name in (streams.FRAMES, *streams.KEPT):
        try:
            state = await stream_state(bus, name)
        except BusUnavailableError:
            missing.append(name)
        else:
            frames = state if name == streams.FRAMES else frames
    if missing:
        words = f"there is no stream {', '.join(missing)} yet"
        return advice("streams", words, "start a gateway: it makes them"), frames
    return fine("streams", "all streams are there"), frames


def backlog(frames: StreamState) -> Finding:
    """Whether the stream of frames has room: full, it refuses what cameras send."""
    share = frames.size_bytes / max(1, frames.limit_bytes)
    words = f"frames that wait to be stored take {size(frames.size_bytes)} of {size(frames.limit_bytes)}"
    mend = "see why they are not stored: is a gateway there, and does the lake answer?"
    if share >= _FULL:
        return wrong("stream of frames", f"{words}: cameras are being refused", mend)
    if share >= _NEARLY_FULL:
        return advice("stream of frames", f"{words}: cameras will be refused soon", mend)
    return fine("stream of frames", words)


async def clock(bus: Bus) -> Finding | None:
    """Whether the server's clock agrees with ours; none where it doesn't say the time."""
    sent = datetime.now(UTC)
    answer = await bus.client.request(f"$JS.API.STREAM.INFO.{streams.FRAMES}", b"", timeout=_ASK_SECONDS)
    came = datetime.now(UTC)
    told = json.loads(answer.data).get("ts")
    if told is None:
        return None
    return clocks.skew("NATS clock", "NATS", sent=sent, there=datetime.fromisoformat(told), came=came)


def checks_of(info: dict[str, Any]) -> list[Callable[[], Finding]]:
    """What the greeting alone tells."""
    return [partial(check, info) for check in (version, jetstream, payload)]


def _line(plain: socket.socket) -> bytes:
    """The server's first line, without anything behind it: TLS may begin there."""
    line = b""
    while not line.endswith(b"\n") and (one := plain.recv(1)) and len(line) < 65_536:
        line += one
    return line


def _read_line(plain: socket.socket) -> None:
    _line(plain)
