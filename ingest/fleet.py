"""The cameras that run: each by itself, started, stopped and started anew as others are wanted."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

import structlog

from framemesh.service import Component
from framemesh.waiting import happens, jittered
from ingest.settings import CameraSettings

log = structlog.get_logger()

_AGAIN_SECONDS = 10.0
"""After a fault of ours in a camera; what is wrong with a source or with NATS it bears by itself."""

_FIRST_LOOK_SECONDS = 10.0
"""For the first cameras to open their sources before the agent passes for ready without them."""


class Watcher(Component, Protocol):
    """A camera, as far as it matters here."""

    @property
    def has_looked(self) -> bool:
        """Whether it has seen something, or found that there is nothing to see."""


class Fleet:
    """Keeps one camera running for each that is wanted. None of them can harm another.

    Args:
        make: Makes a camera of its settings.
        forget: Told the name of each camera that is wanted no more, once it has ended.
        drain_seconds: How long a camera that is to end or to change may finish what it holds.
    """

    name = "cameras"

    def __init__(
        self, make: Callable[[CameraSettings], Watcher], *, forget: Callable[[str], None], drain_seconds: float
    ) -> None:
        self._make = make
        self._forget = forget
        self._drain_seconds = drain_seconds
        self._places: dict[str, _Place] = {}
        self._new: asyncio.Queue[_Place | None] = asyncio.Queue()
        self._stopping = False
        self._began = time.monotonic()
        self._ready = False

    def problem(self) -> str | None:
        """Which cameras have yet to look for the first time, for health checks; none once the agent has begun.

        A photo in motion takes a few seconds to be rendered, and frames are expected of an agent that is ready.
        """
        blind = sorted(name for name, place in self._places.items() if not place.has_looked)
        if not blind or time.monotonic() > self._began + _FIRST_LOOK_SECONDS:
            self._ready = True
        return None if self._ready else f"cameras open their sources: {', '.join(blind)}"

    async def run(self) -> None:
        """Run until stopped, then wait for every camera to finish what it holds."""
        async with asyncio.TaskGroup() as group:
            while (place := await self._new.get()) is not None:
                group.create_task(self._keep(place), name=f"camera {place.name}")

    def stop(self) -> None:
        """Let every camera end, and start no other."""
        self._stopping = True
        self._new.put_nowait(None)
        for place in self._places.values():
            place.want(None)

    def want(self, cameras: tuple[CameraSettings, ...]) -> None:
        """Have these cameras run and no others; those whose settings are as before run on untouched."""
        if self._stopping:
            return
        wanted = {camera.name: camera for camera in cameras}
        added = sorted(wanted.keys() - self._places.keys())
        other = sorted(name for name, place in self._places.items() if place.wanted != wanted.get(name))
        log.info(
            "cameras.wanted",
            count=len(wanted),
            added=added,
            changed=[name for name in other if name in wanted],
            removed=[name for name in other if name not in wanted],
        )
        for name in other:
            self._places[name].want(wanted.get(name), within=self._drain_seconds)
        for name in added:
            self._places[name] = _Place(wanted[name])
            self._new.put_nowait(self._places[name])

    async def _keep(self, place: "_Place") -> None:
        """Run what is wanted in a place until nothing is."""
        while place.wanted is not None:
            await place.run(self._make)
        del self._places[place.name]
        self._forget(place.name)


class _Place:
    """One camera's name, under which one camera runs after the other as its settings change."""

    def __init__(self, wanted: CameraSettings) -> None:
        self.name = wanted.name
        self.wanted: CameraSettings | None = wanted
        self._changed = asyncio.Event()
        self._camera: Watcher | None = None
        self._limit: asyncio.Timeout | None = None
        self._has_run = False

    @property
    def has_looked(self) -> bool:
        """Whether a camera of this name has."""
        return self._has_run or (self._camera is not None and self._camera.has_looked)

    def want(self, settings: CameraSettings | None, *, within: float | None = None) -> None:
        """Have a camera of these settings next, or none.

        Args:
            settings: Of the next one.
            within: Seconds that the one which runs has to end; all that it takes where it isn't said.
        """
        self.wanted = settings
        self._changed.set()
        if self._camera is not None:
            self._camera.stop()
        if within is not None and self._limit is not None and self._limit.when() is None:
            self._limit.reschedule(asyncio.get_running_loop().time() + within)

    async def run(self, make: Callable[[CameraSettings], Watcher]) -> None:
        """Run the camera that is wanted until something else is and it has ended."""
        assert self.wanted is not None  # noqa: S101 - or there would be nothing to run
        self._changed.clear()
        limit = asyncio.timeout(None)
        failed = False
        try:
            async with limit:
                self._camera, self._limit = make(self.wanted), limit
                await self._camera.run()
        except Exception:  # a fault in one camera must not end the others
            failed = not limit.expired()
            if failed:
                log.exception("camera.failed", camera=self.name, again_seconds=_AGAIN_SECONDS)
            else:
                log.warning("camera.cut", camera=self.name)
        finally:
            self._camera = self._limit = None
            self._has_run = True
        if failed:
            await happens(self._changed, within=jittered(_AGAIN_SECONDS))
        else:
            await self._changed.wait()  # some have an end of their own, such as a video that is shown once
