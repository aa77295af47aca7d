"""Keeping messages that are being worked on from being delivered again."""

import asyncio
import math

import nats.errors
from nats.aio.msg import Msg

from framemesh.bus.streams import ACK_WAIT_SECONDS


class Leases:
    """Messages held by this process: each is told to be in progress until it is settled.

    So `ack_wait` can be short, which is how soon a killed process's messages go to another.
    """

    name = "leases"

    def __init__(self) -> None:
        self._held: dict[str, Msg] = {}
        self.size_bytes = 0
        """What the held messages' bodies take."""
        self._released = asyncio.Event()
        self._stopping = asyncio.Event()

    def hold(self, message: Msg) -> None:
        """Renew the message from now on."""
        self._held[message.reply] = message
        self.size_bytes += len(message.data)

    def release(self, message: Msg) -> None:
        """Renew it no more: it is acknowledged, or goes back."""
        if self._held.pop(message.reply, None) is not None:
            self.size_bytes -= len(message.data)
        self._released.set()

    async def below(self, count: int, size_bytes: float = math.inf) -> None:
        """Wait until fewer messages than `count` are held, and less than `size_bytes` of them."""
        while len(self._held) >= count or self.size_bytes >= size_bytes:
            self._released.clear()
            await self._released.wait()

    async def run(self) -> None:
        """Renew what is held, three times in each `ack_wait`, until stopped."""
        while not self._stopping.is_set():
            try:
                async with asyncio.timeout(ACK_WAIT_SECONDS / 3):
                    await self._stopping.wait()
            except TimeoutError:
                await self._renew()

    def stop(self) -> None:
        """Renew nothing more."""
        self._stopping.set()

    async def _renew(self) -> None:
        for message in list(self._held.values()):
            try:
                await message.in_progress()
            except nats.errors.MsgAlreadyAckdError:
                continue  # settled while we went through the list
            except nats.errors.Error:
                return  # no connection: the server counts on, and delivers again what it must
