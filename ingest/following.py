"""Follows a file of cameras: whatever is written there, runs."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog

from framemesh.errors import ConfigurationError
from framemesh.rpc.reloading import FileState, file_state
from framemesh.waiting import happens
from ingest.camera_file import read_cameras
from ingest.metrics import IngestMetrics
from ingest.settings import CameraSettings

log = structlog.get_logger()

_LOOK_SECONDS = 1.0


class Follower:
    """Reads the file whenever it changes or is asked to; one that can't be used is told of and changes nothing.

    A look is one stat of the file, through symbolic links: so an editor's new file under the old name, and the links
    by which Kubernetes swaps a ConfigMap, are seen as changes. It is read once it has stayed the same for two looks,
    as a file that is half written can be sound and lack cameras.

    Args:
        path: The file.
        read: Its state when it was read first.
        want: Told the cameras each time that the file could be read.
        metrics: Of the agent.
    """

    name = "file of cameras"

    def __init__(
        self,
        path: Path,
        read: FileState,
        want: Callable[[tuple[CameraSettings, ...]], None],
        metrics: IngestMetrics,
    ) -> None:
        self._path = path
        self._want = want
        self._refused = metrics.cameras_file_refused
        self._refused.set(0)
        self._read = self._seen = read
        self._problem: str | None = None
        self._stopping = False
        self._asked = False
        self._woken = asyncio.Event()

    async def run(self) -> None:
        """Follow until stopped."""
        while not self._stopping:
            await happens(self._woken, within=_LOOK_SECONDS)
            self._woken.clear()
            before, self._seen = self._seen, file_state(self._path)
            if self._asked or self._read != self._seen == before:
                self._asked = False
                self._read = self._seen
                await self._reload()

    def stop(self) -> None:
        """Look no more."""
        self._stopping = True
        self._woken.set()

    def reload(self) -> None:
        """Read the file at once, changed or not."""
        self._asked = True
        self._woken.set()

    def problem(self) -> str | None:
        """Why the file as it is now can't be used, while the cameras of before run on."""
        return self._problem

    async def _reload(self) -> None:
        try:
            cameras = await asyncio.to_thread(read_cameras, self._path)
        except ConfigurationError as error:
            self._problem = f"refused, the cameras of before run on: {error}"
            self._refused.set(1)
            log.error("cameras_file.refused", path=str(self._path), error=str(error))  # noqa: TRY400 - its words say all
        else:
            self._problem = None
            self._refused.set(0)
            log.info("cameras_file.read", path=str(self._path))
            self._want(cameras)
