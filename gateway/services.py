"""The services that are heard: each gateway, archiver and deployer tells of itself."""

import asyncio
import time

from nats.aio.msg import Msg

from framemesh.bus import Bus, encoding, presence
from framemesh.v1.service_pb2 import ServicePresence


class Services:
    """Listens while it runs, to this gateway too. Reading is instant, from memory."""

    name = "services"

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._heard: dict[tuple[str, str], tuple[float, ServicePresence]] = {}
        self._stopping = asyncio.Event()

    def services(self) -> list[ServicePresence]:
        """Those heard of late, by service and instance."""
        self._forget_silent()
        return [told for _, (_, told) in sorted(self._heard.items())]

    async def run(self) -> None:
        """Listen until stopped."""
        subscription = await self._bus.client.subscribe(presence.SUBJECTS, cb=self._hear)
        await self._stopping.wait()
        if self._bus.client.is_connected:
            await subscription.unsubscribe()

    def stop(self) -> None:
        """Listen no more."""
        self._stopping.set()

    async def _hear(self, message: Msg) -> None:
        told = encoding.load(message.data, ServicePresence())
        if told is None or message.subject != presence.subject(told):
            return
        if told.ending:
            self._heard.pop((told.service, told.instance), None)
        else:
            self._heard[told.service, told.instance] = (time.monotonic(), told)
        self._forget_silent()  # here too, as perhaps nobody ever asks

    def _forget_silent(self) -> None:
        since = time.monotonic() - presence.SILENT_SECONDS
        self._heard = {key: heard for key, heard in self._heard.items() if heard[0] > since}
