"""Keeping messages that are being worked on from being delivered again."""

import asyncio
import math
import time
from collections.abc import Sequence

import nats.errors
from nats.aio.msg import Msg

from framemesh.bus.streams import ACK_WAIT_SECONDS
from framemesh.waiting import happens

_LAPSED_SECONDS = 300.0
"""A process that was frozen for so long must not go on with what it held: others have it, and what they made of it may
soon be too old to be recognised as the same (half the streams' duplicate window)."""


class Leases:
    """Messages held by this process: each is told to be in progress until it is settled.

    So `ack_wait` can be short, which is how soon a killed process's messages go to another.
    """

    name = "leases"

    def __init__(self) -> None:
        self._held: dict[str, Msg] = {}
        self._renewed = time.monotonic()
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

    def holds(self, message: Msg) -> bool:
        """Whether the message is still ours to settle."""
        self._notice_lapse()
        return message.reply in self._held

    def held(self) -> Sequence[Msg]:
        """All that is held."""
        return list(self._held.values())

    async def below(self, count: int, size_bytes: float = math.inf) -> None:
        """Wait until fewer messages than `count` are held, and less than `size_bytes` of them."""
        while len(self._held) >= count or self.size_bytes >= size_bytes:
            self._released.clear()
            await self._released.wait()

    async def run(self) -> None:
        """Renew what is held, three times in each `ack_wait`, until stopped."""
        while not await happens(self._stopping, within=ACK_WAIT_SECONDS / 3):
            await self._renew()

    def stop(self) -> None:
        """Renew nothing more."""
        self._stopping.set()

    def _notice_lapse(self) -> None:
        if time.monotonic() > self._renewed + _LAPSED_SECONDS:
            self._held.clear()
            self.size_bytes = 0
            self._released.set()

    async def _renew(self) -> None:
        self._notice_lapse()
        self._renewed = time.monotonic()
        for message in list(self._held.values()):
            try:
                await message.in_progress()
            except nats.errors.MsgAlreadyAckdError:
                continue  # settled while we went through the list
            except nats.errors.Error:
                return  # no connection: the server counts on, and delivers again what it must
