"""The connection to NATS, and publishing that ends in a receipt or a clear error."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import nats
import nats.errors
import structlog
from nats.aio.client import DEFAULT_PENDING_SIZE, Client, RawCredentials
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import PubAck
from nats.js.errors import APIError, NoStreamResponseError

from framemesh.errors import (
    BusUnavailableError,
    ConfigurationError,
    ImageTooLargeError,
    PublishDeniedError,
    StreamFullError,
)
from framemesh.telemetry import tracing

log = structlog.get_logger()

CONNECT_SECONDS = 10.0
ACK_SECONDS = 5.0

_FULL = 10077  # JSStreamStoreFailedF: "maximum bytes exceeded"; the class nats-py raises is that of any 503
_TOO_LONG = 10054  # JSStreamMessageExceedsMaximumErr
_HEADER_SLACK = 512  # also for a trace's headers, which come last
_DENIED = re.compile(r'permissions violation for (publish|subscription) to "([^"]+)"', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Login:
    """Who connects, where the URL doesn't say it.

    Attributes:
        user: The user's name.
        password: Their password.
        credentials: What a `.creds` file says, instead of both.
        inbox_prefix: Where receipts come: what the user must be allowed to subscribe to, with `.>` behind it; none is
            `_INBOX.` and the connection's name.
        setting: What to check where the server refuses them.
    """

    user: str | None = None
    password: str | None = field(default=None, repr=False)
    credentials: str | None = field(default=None, repr=False)
    inbox_prefix: str | None = None
    setting: str = "FRAMEMESH_NATS_URL"


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
        self._publishing: dict[str, set[asyncio.Timeout]] = {}
        self.denied_inbox: str | None = None
        """Where receipts would come, if the server let this user subscribe to it."""

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

    def body_limit(self, headers: Mapping[str, str]) -> int:
        """How many bytes a message's body may have beside its headers: the server's limit covers both."""
        words = sum(len(key) + len(value) + 4 for key, value in headers.items())
        return self.client.max_payload - words - _HEADER_SLACK

    async def publish(self, subject: str, body: bytes, headers: Mapping[str, str], *, timeout: float) -> PubAck:
        """Publish to a stream and wait until it has the message on disk. In a trace, its headers carry the context.

        After an error the message may be stored nevertheless: send it again with the same `Nats-Msg-Id`.

        Raises:
            ImageTooLargeError: The server would refuse it, and close the connection for good.
            StreamFullError: The stream is at its limit.
            PublishDeniedError: The server doesn't let this user publish there, or hear the receipt.
            BusUnavailableError: No receipt in time, no connection, or no stream for the subject.
        """
        if not self.client.is_connected:  # nats-py would take it into a small buffer, and forget the receipt
            raise BusUnavailableError("not connected to NATS")
        # nats-py checks the body alone, and one message over the limit with its headers ends the connection.
        if len(body) > (limit := self.body_limit(headers)):
            raise ImageTooLargeError(
                f"{len(body):,} bytes are over the {limit:,} that NATS takes beside the headers",
                size_bytes=len(body),
                limit_bytes=limit,
            )
        try:
            async with self._ended_early(subject):
                return await self.js.publish(subject, body, timeout=timeout, headers={**headers, **tracing.headers()})
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
            if self.denied_inbox is not None:
                raise PublishDeniedError(
                    f"NATS does not let this user subscribe to {self.denied_inbox!r}, where receipts come: permit it",
                    subject=self.denied_inbox,
                ) from error
            raise BusUnavailableError(
                f"NATS did not acknowledge {subject!r}: {str(error) or type(error).__name__}"
            ) from error

    def denied(self, error: str) -> bool:
        """Take what the server said where it is about a permission; whether somebody waited to hear it.

        The server does not say which message it means, but its subject; the publisher would wait for its receipt.
        """
        found = _DENIED.search(error)
        if found is None:
            return False
        kind, subject = found.groups()
        if kind.lower() == "subscription":
            self.denied_inbox = subject
            return False
        waiting = self._publishing.get(subject, set())
        _end(waiting)
        return bool(waiting)

    def lost(self) -> None:
        """End every publish that has no receipt: the connection on which it would have come is gone."""
        for waiting in self._publishing.values():
            _end(waiting)

    @asynccontextmanager
    async def _ended_early(self, subject: str) -> AsyncIterator[None]:
        """End the block as soon as the server refuses the subject to this user, or the connection is lost."""
        waiting = self._publishing.setdefault(subject, set())
        scope = asyncio.timeout(None)
        try:
            async with scope:
                waiting.add(scope)
                try:
                    yield
                finally:
                    waiting.discard(scope)
                    if not waiting:
                        self._publishing.pop(subject, None)
        except TimeoutError as error:
            if not scope.expired():
                raise
            if not self.client.is_connected:
                raise BusUnavailableError(f"the connection was lost before NATS acknowledged {subject!r}") from error
            raise PublishDeniedError(
                f"NATS does not let this user publish to {subject!r}: permit it there, or connect as a user who may",
                subject=subject,
            ) from error


def _end(waiting: set[asyncio.Timeout]) -> None:
    now = asyncio.get_running_loop().time()
    for scope in waiting:
        if not scope.expired():
            scope.reschedule(now)


class _TolerantClient(Client):
    """nats-py, but what it doesn't expect is not the end of all reading.

    Its read loop stops for good, still `is_connected`, at the first header or subject that it can't parse, and a server
    passes on whatever a publisher wrote; also at the answer to a flush whose caller was cancelled meanwhile. Its
    reconnecting ends, still `is_reconnecting`, with credentials that nothing can be signed with.
    """

    def forget_pending(self) -> None:
        """Drop what is not on the wire yet: sent after a reconnection it would overtake what was lost before it."""
        self._pending.clear()
        self._pending_data_size = 0

    def _connect_command(self) -> bytes:
        try:
            command: bytes = super()._connect_command()
        except (nats.errors.Error, OSError):
            raise
        except Exception as error:
            raise nats.errors.InvalidUserCredentialsError from error
        return command

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
async def connect(url: str, *, name: str, login: Login | None = None, buffered: bool = True) -> AsyncIterator[Bus]:
    """Hold a connection around the block; it reconnects for ever. On leaving, what was sent is flushed.

    Args:
        url: One or more NATS URLs with commas between them.
        name: Who connects, in words: for the server's own lists, and as the place where its answers arrive, which the
            permissions of NATS users can keep apart (`_INBOX.gateway.>`).
        login: Who that is, in place of what the URLs say.
        buffered: Whether nats-py may keep up to 2 MiB that it can't send, and send them after a reconnection. Without,
            nothing waits there: for whoever keeps what has no receipt, and in its order.

    Raises:
        ConfigurationError: The server refuses the credentials, or they are damaged; or a URL can't be read.
        BusUnavailableError: No server answers there.
    """
    places = ", ".join(_place(part) for part in url.split(","))
    login = login or Login()
    own = bool(login.user or login.credentials)
    servers = [_without_login(part) if own else part for part in url.split(",")]
    refused = False

    async def on_error(error: Exception) -> None:
        nonlocal refused
        damaged = isinstance(error, nats.errors.InvalidUserCredentialsError)
        if (damaged or "authorization violation" in str(error).lower()) and not client.is_connected:
            refused = True
            client.options["allow_reconnect"] = False  # it would try the same password for ever
            if own:
                bus.closed.set()  # reconnecting goes on nevertheless; who connects anew reads the files anew
        if bus.denied(str(error)):
            return  # whoever published says so
        log.warning("nats.error", error=str(error) or type(error).__name__)

    async def on_disconnected() -> None:
        if not buffered:
            client.forget_pending()
            bus.lost()
        log.warning("nats.disconnected", servers=places)

    async def on_reconnected() -> None:
        bus.connections += 1
        bus.denied_inbox = None
        log.info("nats.reconnected", servers=places)

    async def on_closed() -> None:
        bus.closed.set()

    client = _TolerantClient()
    bus = Bus(client)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await client.connect(
                servers,
                name=name,
                user=login.user,
                password=login.password,
                user_credentials=RawCredentials(login.credentials) if login.credentials else None,
                inbox_prefix=login.inbox_prefix or ".".join(["_INBOX", *name.split()]),
                pending_size=DEFAULT_PENDING_SIZE if buffered else 0,
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
        raise (_refused(places, login) if refused else _absent(places)) from error
    try:
        yield bus
    finally:
        await _close(client)


async def _close(client: Client) -> None:
    try:
        async with asyncio.timeout(ACK_SECONDS):
            await client.flush()
    except (nats.errors.Error, TimeoutError) as error:
        log.warning("nats.not_flushed", error=str(error) or type(error).__name__)
    await client.close()


def _refused(places: str, login: Login) -> ConfigurationError:
    return ConfigurationError(
        f"the NATS server at {places} refuses the credentials; check {login.setting}", servers=places
    )


def _absent(places: str) -> BusUnavailableError:
    return BusUnavailableError(
        f"no NATS server answers at {places}; start it, or correct FRAMEMESH_NATS_URL", servers=places
    )


def _place(url: str) -> str:
    """The URL without its credentials."""
    try:
        parts = urlsplit(url)
        port = parts.port or 4222
    except ValueError:  # whose words show what stands where the port belongs: often a part of the password
        raise ConfigurationError(
            "the address of NATS can't be read: write nats://HOST:4222 in FRAMEMESH_NATS_URL, with USER:PASSWORD@ "
            "before the host, and signs in the password as %xx (/ is %2F)"
        ) from None
    return f"{parts.scheme}://{parts.hostname}:{port}"


def _without_login(url: str) -> str:
    """The URL without its credentials, which nats-py would prefer to any others."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
