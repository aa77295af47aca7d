"""The agent's way to NATS: a connection for each set of credentials, there as soon as NATS is."""

import asyncio
import math
from collections.abc import Callable, Mapping

import structlog
from nats.js.api import PubAck

from framemesh.bus import Bus, connect
from framemesh.bus.connection import Login
from framemesh.errors import BusUnavailableError, ConfigurationError, PublishDeniedError
from framemesh.waiting import happens, jittered
from ingest.spells import Spell

_RETRY_SECONDS = 2.0
_REFUSED_RETRY_SECONDS = 10.0


class Line:
    """A connection that is made when NATS lets it be made, and made anew once it is beyond repair.

    Frames wait in their buffers meanwhile; the agent neither waits for NATS at its start nor ends with it.

    Args:
        name: Whose it is, such as `camera gate`.
        url: One or more NATS URLs with commas between them.
        login: Says who connects, each time: a file may have changed. It may raise a `ConfigurationError`.
    """

    def __init__(self, name: str, url: str, login: Callable[[], Login]) -> None:
        self.name = f"line {name}"
        self._who = name
        self._url = url
        self._login = login
        self._bus: Bus | None = None
        self._missing: BusUnavailableError = BusUnavailableError("not connected to NATS yet")
        self._tried = asyncio.Event()
        self._stopping = asyncio.Event()
        self._away = Spell(structlog.get_logger().bind(line=name), began="nats.away", over="nats.back")

    @property
    def bus(self) -> Bus | None:
        """The connection; none where it has yet to be made."""
        return self._bus

    async def run(self) -> None:
        """Keep the connection until stopped."""
        while not self._stopping.is_set():
            pause = _RETRY_SECONDS
            try:
                async with connect(self._url, name=self._who, login=self._login(), buffered=False) as bus:
                    self._away.end()
                    self._bus = bus
                    self._tried.set()
                    if self._stopping.is_set():
                        bus.stop()
                    await bus.run()
            except ConfigurationError as error:
                self._lacks(PublishDeniedError(str(error), **error.values))
                pause = _REFUSED_RETRY_SECONDS
            except BusUnavailableError as error:
                self._lacks(error)
            finally:
                self._bus = None
            await happens(self._stopping, within=jittered(pause))

    def stop(self) -> None:
        """Let `run` return, and the connection go."""
        self._stopping.set()
        if self._bus is not None:
            self._bus.stop()

    async def tried(self, *, within: float) -> None:
        """Wait until it is connected or has failed to be, at most so many seconds."""
        await happens(self._tried, within=within)

    def problem(self) -> str | None:
        """What is wrong with the connection, for health checks."""
        if self._bus is None:
            return str(self._missing)
        return self._bus.problem()

    def body_limit(self, headers: Mapping[str, str]) -> float:
        """See `Bus.body_limit`; none where there is no connection."""
        return math.inf if self._bus is None else self._bus.body_limit(headers)

    async def publish(self, subject: str, body: bytes, headers: Mapping[str, str], *, timeout: float) -> PubAck:
        """See `Bus.publish`.

        Raises:
            PublishDeniedError: As there, or NATS refuses the credentials.
            BusUnavailableError: As there, or there is no connection yet; the message says why.
        """
        if self._bus is None:
            raise type(self._missing)(str(self._missing), **self._missing.values)
        return await self._bus.publish(subject, body, headers, timeout=timeout)

    def _lacks(self, error: BusUnavailableError) -> None:
        self._missing = error
        self._tried.set()
        self._away.hit(error=str(error))
