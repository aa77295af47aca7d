"""Which services run: each tells of itself on NATS, for whoever listens at the moment."""

import asyncio
import os
import socket
import time

import nats.errors

from framemesh.bus import encoding
from framemesh.bus.connection import Bus
from framemesh.frames import timestamp
from framemesh.names import MAX_CAMERA_LENGTH, to_label
from framemesh.v1.service_pb2 import ServicePresence
from framemesh.waiting import happens

HEARTBEAT_SECONDS = 2.0
SILENT_SECONDS = 10.0
"""A service that has said nothing for so long is taken for gone."""
SUBJECTS = "presence.*.*"


class Presence:
    """Tells that a service is there until it is stopped, and then that it goes.

    Args:
        bus: Where it is told. While NATS is away nobody is told anything.
        service: What it is, such as `gateway`.
    """

    name = "presence"

    def __init__(self, bus: Bus, service: str) -> None:
        self._bus = bus
        self._told = ServicePresence(service=service, instance=instance(), start_time=timestamp(time.time_ns()))
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Tell it every 2 s until stopped."""
        while not self._stopping.is_set():
            await self._tell()
            await happens(self._stopping, within=HEARTBEAT_SECONDS)
        self._told.ending = True
        await self._tell()

    def stop(self) -> None:
        """Tell that it goes."""
        self._stopping.set()

    async def _tell(self) -> None:
        await tell(self._bus, subject(self._told), encoding.dump(self._told))


def subject(told: ServicePresence) -> str:
    """Where a service tells of itself."""
    return f"presence.{told.service}.{told.instance}"


def instance() -> str:
    """This process among those of its kind, as a DNS label."""
    return to_label(f"{socket.gethostname()[:40]}-{os.getpid()}", max_length=MAX_CAMERA_LENGTH)


async def tell(bus: Bus, subject: str, body: bytes) -> bool:
    """Publish what nobody keeps and nobody has to hear; whether NATS was there to take it."""
    if not bus.client.is_connected:
        return False
    try:
        await bus.client.publish(subject, body)
    except nats.errors.Error:  # the connection went meanwhile
        return False
    return True
