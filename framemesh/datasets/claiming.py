"""One export at a time into one place of the lake, by plain objects: not every store knows a conditional PUT."""

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from uuid import uuid4

from framemesh.datasets.fetching import patiently
from framemesh.errors import ConfigurationError, FrameNotFoundError, LakeUnavailableError
from framemesh.lake import Lake
from framemesh.waiting import cancelled, jittered

_FOLDER = ".claims/"  # no dataset is called so
_LOOK_SECONDS = 1.0
_RENEW_SECONDS = 5.0
_DEAD_SECONDS = 20.0


class Claim:
    """An object that says who writes below a prefix. It is written anew every few seconds: one that stays is dead.

    Nobody's clock counts, and no condition on a PUT. Who puts a claim looks afterwards, and of two who put theirs at
    once at least one sees the other's, since a listing has all that was put before it; who sees another's withdraws.

    Args:
        lake: The bucket.
        prefix: What is claimed, with its slash.
    """

    def __init__(self, lake: Lake, prefix: str) -> None:
        self._lake = lake
        self._prefix = prefix
        self._folder = f"{_FOLDER}{prefix}"
        self._key = f"{self._folder}{uuid4().hex}"
        self._renewed = 0.0

    async def take(self) -> None:
        """Get the place for ourselves. A claim that somebody left who was killed is waited out, and removed.

        Raises:
            ConfigurationError: Somebody else is at it.
            LakeUnavailableError: The lake is away, and was for a minute.
        """
        while True:
            await self._others_gone()
            await patiently(self._put)
            if await self._there() == {self._key}:
                return
            await self.release()
            await asyncio.sleep(jittered(_LOOK_SECONDS))

    async def keep(self) -> None:
        """Renew it for ever."""
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            with suppress(LakeUnavailableError, ConfigurationError):  # `check` says so
                await self._renew()

    async def check(self) -> None:
        """Pass while the place is ours, which it is no more after a process was frozen for long.

        Raises:
            ConfigurationError: Somebody else has it.
            LakeUnavailableError: Nobody can tell, and could for a minute.
        """
        if time.monotonic() > self._renewed + _DEAD_SECONDS / 2:
            await patiently(self._renew)

    async def release(self) -> None:
        """Leave the place to others."""
        await patiently(lambda: self._lake.delete(self._key))

    async def _put(self) -> None:
        now = time.monotonic()
        await self._lake.put(self._key, uuid4().bytes, content_type="application/octet-stream", metadata={})
        self._renewed = now

    async def _renew(self) -> None:
        try:
            await self._lake.get(self._key)
        except FrameNotFoundError:
            self._renewed = -math.inf
            raise ConfigurationError(
                f"another export took {self._prefix} over, as this one stood still: choose another version for this one"
            ) from None
        await self._put()

    async def _others_gone(self) -> None:
        """Wait until others' claims are gone or have not changed for long, and remove those."""
        before = await self._bodies()
        patient_until = time.monotonic() + _DEAD_SECONDS
        while before and time.monotonic() < patient_until:
            await asyncio.sleep(_LOOK_SECONDS)
            now = await self._bodies()
            if any(before.get(key) != body for key, body in now.items()):
                raise ConfigurationError(
                    f"another export writes {self._prefix} at this moment: choose another version, or wait for its end"
                )
            before = now
        await patiently(lambda: self._lake.delete(*before))

    async def _bodies(self) -> dict[str, bytes]:
        found = {}
        for key in await self._there():
            with suppress(FrameNotFoundError):  # just withdrawn
                found[key] = (await patiently(partial(self._lake.get, key)))[0]
        return found

    async def _there(self) -> set[str]:
        return set(await patiently(lambda: self._lake.keys(self._folder)))


@asynccontextmanager
async def claimed(lake: Lake, prefix: str) -> AsyncIterator[Claim]:
    """Have a prefix for ourselves around the block.

    Raises:
        ConfigurationError: Somebody else is at it.
        LakeUnavailableError: The lake is away.
    """
    claim = Claim(lake, prefix)
    await claim.take()
    keeping = asyncio.create_task(claim.keep(), name=f"claim of {prefix}")
    try:
        yield claim
    finally:
        await cancelled(keeping)
        with suppress(LakeUnavailableError):  # it dies by itself
            await claim.release()
