"""How the cameras of all agents are, followed in NATS's key-value store."""

import asyncio
import time
from collections.abc import AsyncIterator

import structlog

from framemesh.bus import Bus, cameras
from framemesh.bus.streams import CAMERAS_BUCKET
from framemesh.bus.watching import Entry, entries
from framemesh.v1.camera_pb2 import Camera
from framemesh.waiting import until_set

log = structlog.get_logger()

_PAUSE_SECONDS = 0.5
_EXPIRE_SECONDS = 1.0


class Cameras:
    """The cameras whose agents are heard. Reading is instant, from memory."""

    name = "cameras"

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._cameras: dict[str, Camera] = {}
        self._heard: dict[str, float] = {}
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()

    def cameras(self) -> list[Camera]:
        """All of them, by name."""
        return [self._cameras[name] for name in sorted(self._heard)]

    async def changes(self) -> AsyncIterator[None]:
        """Yield at once, and again after each change, twice a second at most."""
        while not self._stopping.is_set():
            changed = self._changed
            yield
            await changed.wait()
            await asyncio.sleep(_PAUSE_SECONDS)

    async def run(self) -> None:
        """Follow the bucket until stopped."""
        await until_set(self._stopping, self._follow(), self._expire())

    def stop(self) -> None:
        """Follow no more."""
        self._stopping.set()
        self._touch()

    async def _follow(self) -> None:
        known: dict[str, Entry] = {}
        async for content in entries(self._bus, CAMERAS_BUCKET):
            # Each camera writes every 2 s: were all read for each that did, the work would grow with their square.
            written = {name: entry for name, entry in content.items() if known.get(name) != entry}
            gone = known.keys() - content.keys()
            known = content
            for name, entry in written.items():
                camera = cameras.load(entry.value)
                if camera is None:
                    gone.add(name)
                else:
                    self._hear(name, camera)
            for name in gone:
                self._cameras.pop(name, None)
                self._heard.pop(name, None)
            if written or gone:
                self._touch()

    def _hear(self, name: str, camera: Camera) -> None:
        before = self._cameras.get(name)
        if before is None or before.heartbeat_time != camera.heartbeat_time:
            self._heard[name] = time.monotonic()
        self._cameras[name] = camera

    async def _expire(self) -> None:
        """Leave out cameras whose agent has fallen silent; our own clock counts, not theirs."""
        while True:
            await asyncio.sleep(_EXPIRE_SECONDS)
            now = time.monotonic()
            for name in [name for name, heard in self._heard.items() if now - heard > cameras.SILENT_SECONDS]:
                del self._heard[name]
                log.warning("camera.silent", camera=name)
                self._touch()

    def _touch(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
