"""The connection to NATS, and publishing that ends in a receipt or a clear error."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from urllib.parse import urlsplit

import nats
import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import PubAck
from nats.js.errors import APIError, NoStreamResponseError

from framemesh.errors import BusUnavailableError, ConfigurationError, ImageTooLargeError, StreamFullError

log = structlog.get_logger()

CONNECT_SECONDS = 10.0
ACK_SECONDS = 5.0

_FULL = 10077  # JSStreamStoreFailedF: "maximum bytes exceeded"; the class nats-py raises is that of any 503
_TOO_LONG = 10054  # JSStreamMessageExceedsMaximumErr
_HEADER_SLACK = 512


@contextmanager
def reporting(problem: str) -> Iterator[None]:
    """Make a `BusUnavailableError` of what nats-py raises in the block; `problem` says what can't be done by that."""
    try:
        yield
    except (nats.errors.Error, TimeoutError) as error:
        raise BusUnavailableError(f"{problem}: {str(error) or type(error).__name__}") from error


class Bus:
    """A connection to NATS that outlives server restarts. Made by `connect`; run it beside what uses it."""

    name = "bus"

    def __init__(self, client: Client) -> None:
        self.client = client
        self.js: JetStreamContext = client.jetstream(timeout=ACK_SECONDS)
        self._stopping = asyncio.Event()
        self.connections = 1
        """Which connection this is: one more after each reconnection."""
        self.closed = asyncio.Event()
        """Set once the connection is beyond repair: the process should end and be restarted."""

    async def run(self) -> None:
        """Run until stopped; end with an error once the connection is beyond repair.

        Raises:
            BusUnavailableError: It is; the supervisor's restart is the mend.
        """
        stopping = asyncio.create_task(self._stopping.wait())
        closed = asyncio.create_task(self.closed.wait())
        await asyncio.wait((stopping, closed), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        closed.cancel()
        if not self._stopping.is_set():
            raise BusUnavailableError("NATS closed the connection for good; see the log for its reason")

    def stop(self) -> None:
        """Let `run` return; the connection itself closes with its block."""
        self._stopping.set()

    def problem(self) -> str | None:
        """What is wrong with the connection, for health checks."""
        return None if self.client.is_connected else "not connected to NATS"

    async def publish(self, subject: str, body: bytes, headers: Mapping[str, str], *, timeout: float) -> PubAck:
        """Publish to a stream and wait until it has the message on disk.

        After an error the message may be stored nevertheless: send it again with the same `Nats-Msg-Id`.

        Raises:
            ImageTooLargeError: The server would refuse it, and close the connection for good.
            StreamFullError: The stream is at its limit.
            BusUnavailableError: No receipt in time, no connection, or no stream for the subject.
        """
        if not self.client.is_connected:  # nats-py would take it into a small buffer, and forget the receipt
            raise BusUnavailableError("not connected to NATS")
        # The limit covers headers too, and nats-py checks the body alone; one message over it ends the connection.
        size = len(body) + sum(len(key) + len(value) + 4 for key, value in headers.items()) + _HEADER_SLACK
        if size > self.client.max_payload:
            raise ImageTooLargeError(
                f"a message of {size:,} bytes with its headers is over NATS's limit of {self.client.max_payload:,}",
                size_bytes=size,
                limit_bytes=self.client.max_payload,
            )
        try:
            return await self.js.publish(subject, body, timeout=timeout, headers=dict(headers))
        except APIError as error:
            if error.err_code == _FULL:
                raise StreamFullError(
                    f"the stream behind {subject!r} is full and takes no more until it is read", subject=subject
                ) from error
            if error.err_code == _TOO_LONG:
                raise ImageTooLargeError(
                    f"{len(body):,} bytes are over the limit of the stream behind {subject!r}", size_bytes=len(body)
                ) from error
            raise BusUnavailableError(f"JetStream refused {subject!r}: {error.description}") from error
        except NoStreamResponseError as error:
            raise BusUnavailableError(
                f"no stream takes {subject!r}: is the gateway running? It makes the streams", subject=subject
            ) from error
        except (nats.errors.Error, TimeoutError) as error:
            raise BusUnavailableError(
                f"NATS did not acknowledge {subject!r}: {str(error) or type(error).__name__}"
            ) from error


class _TolerantClient(Client):
    """nats-py, but what it doesn't expect is not the end of all reading.

    Its read loop stops for good, still `is_connected`, at the first header or subject that it can't parse, and a server
    passes on whatever a publisher wrote; also at the answer to a flush whose caller was cancelled meanwhile.
    """

    async def _process_pong(self) -> None:
        if self._pongs and self._pongs[0].done():
            self._pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()

    async def _process_headers(self, headers: bytes) -> dict[str, str] | None:
        try:
            return await super()._process_headers(headers)
        except (IndexError, ValueError):  # too short, or not UTF-8
            return None

    def _build_message(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
    ) -> Msg:
        readable = subject.decode(errors="backslashreplace").encode()
        message: Msg = super()._build_message(sid, readable, reply, data, headers)
        return message


@asynccontextmanager
async def connect(url: str, *, name: str) -> AsyncIterator[Bus]:
    """Hold a connection around the block; it reconnects for ever. On leaving, what was sent is flushed.

    Args:
        url: One or more NATS URLs with commas between them.
        name: Who connects, in words: for the server's own lists, and as the place where its answers arrive, which the
            permissions of NATS users can keep apart (`_INBOX.gateway.>`).

    Raises:
        ConfigurationError: The server refuses the credentials.
        BusUnavailableError: No server answers there.
    """
    places = ", ".join(_place(part) for part in url.split(","))

    refused = False

    async def on_error(error: Exception) -> None:
        nonlocal refused
        if "authorization violation" in str(error).lower() and not client.is_connected:
            refused = True
            client.options["allow_reconnect"] = False  # it would try the same password for ever
        log.warning("nats.error", error=str(error) or type(error).__name__)

    async def on_disconnected() -> None:
        log.warning("nats.disconnected", servers=places)

    async def on_reconnected() -> None:
        bus.connections += 1
        log.info("nats.reconnected", servers=places)

    async def on_closed() -> None:
        bus.closed.set()

    client = _TolerantClient()
    bus = Bus(client)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await client.connect(
                url.split(","),
                name=name,
                inbox_prefix=".".join(["_INBOX", *name.split()]).encode(),
                max_reconnect_attempts=-1,
                reconnect_time_wait=1,
                connect_timeout=2,
                ping_interval=10,  # a network that went silent is noticed in 30 s, not in 6 minutes
                error_cb=on_error,
                disconnected_cb=on_disconnected,
                reconnected_cb=on_reconnected,
                closed_cb=on_closed,
            )
    except (nats.errors.Error, OSError, TimeoutError) as error:
        await client.close()
        if refused:
            raise ConfigurationError(
                f"the NATS server at {places} refuses the credentials; check FRAMEMESH_NATS_URL", servers=places
            ) from error
        raise BusUnavailableError(
            f"no NATS server answers at {places}; start it, or correct FRAMEMESH_NATS_URL", servers=places
        ) from error
    try:
        yield bus
    finally:
        try:
            async with asyncio.timeout(ACK_SECONDS):
                await client.flush()
        except (nats.errors.Error, TimeoutError) as error:
            log.warning("nats.not_flushed", error=str(error) or type(error).__name__)
        await client.close()


def _place(url: str) -> str:
    """The URL without its credentials."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port or 4222}"
