"""The disk under a mesh: what of it the streams get, and what happens when it is full all the same.

Streams take half of what is free at most, and the lake stops short of them. So when the lake has filled its part,
frames wait in NATS, and when `FRAMES` is full too, cameras are refused: nothing that was accepted is lost. What other
programs take can fill the disk all the same. Then NATS refuses to write, and goes on refusing once there is space: it
must be started again.
"""

import asyncio
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from framemesh.bus.streams import LEAST_STREAM_BYTES, USUAL_BYTES_A_SECOND
from framemesh.errors import ConfigurationError
from framemesh.waiting import happens
from framemesh.words import size, span

_MIB = 1024**2
_GIB = 1024**3
FRAMES_BYTES = "FRAMEMESH_FRAMES_STREAM_BYTES"
USUAL_BYTES = {
    FRAMES_BYTES: 4 * _GIB,
    "FRAMEMESH_STORED_STREAM_BYTES": _GIB,
    "FRAMEMESH_RESULTS_STREAM_BYTES": _GIB,
    "FRAMEMESH_DEADLETTERS_STREAM_BYTES": _GIB,
}
_FULL_BYTES = 32 * _MIB
LOW_BYTES = 512 * _MIB
_LOOK_SECONDS = 2.0


def stream_bytes(free_bytes: int, chosen: Mapping[str, str]) -> dict[str, int]:
    """The streams' sizes as variables of the gateway: the usual ones, or what half of the free disk allows.

    Args:
        free_bytes: What is free, with what NATS has there already.
        chosen: Variables that the operator has set; they win.

    Raises:
        ConfigurationError: Too little is free for the smallest streams.
    """
    usual = sum(USUAL_BYTES.values())
    room = min(usual, free_bytes // 2)
    if room < len(USUAL_BYTES) * LEAST_STREAM_BYTES:
        raise ConfigurationError(
            f"the disk has {size(free_bytes)} free and the streams need {size(2 * 4 * LEAST_STREAM_BYTES)}: free some, "
            "or choose a --data-dir on another disk"
        )
    return {
        name: max(LEAST_STREAM_BYTES, usual_bytes * room // usual)
        for name, usual_bytes in USUAL_BYTES.items()
        if not chosen.get(name)
    }


def stream_bytes_for(folder: Path, chosen: Mapping[str, str]) -> dict[str, int]:
    """The same, for a data directory.

    Raises:
        ConfigurationError: As `stream_bytes`.
    """
    ours = sum(file.stat().st_size for file in (folder / "nats").rglob("*") if file.is_file())
    return stream_bytes(shutil.disk_usage(folder).free + ours, chosen)


def small_words(sizes: Mapping[str, int]) -> str:
    """Which outage of the lake the stream of frames survives, where the disk makes it a short one; else nothing."""
    frames_bytes = sizes.get(FRAMES_BYTES, USUAL_BYTES[FRAMES_BYTES])
    if frames_bytes >= USUAL_BYTES[FRAMES_BYTES]:
        return ""
    return (
        f"the disk has little room: up to {size(frames_bytes)} of frames may wait in NATS, an outage of the lake of "
        f"{span(frames_bytes / USUAL_BYTES_A_SECOND)} at 9 MB/s"
    )


class DiskWatch:
    """Says when the disk is nearly full, and starts NATS again once a full one has space.

    Args:
        folder: On the disk.
        restart_nats: Starts NATS again.
        on_event: Told in words.
        low_bytes: Less is nearly full.
    """

    name = "disk watch"

    def __init__(
        self,
        folder: Path,
        restart_nats: Callable[[], None],
        on_event: Callable[[str], None],
        *,
        low_bytes: int = LOW_BYTES,
    ) -> None:
        self._folder = folder
        self._restart_nats = restart_nats
        self._on_event = on_event
        self._low_bytes = low_bytes
        self._low = False
        self._full = False
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Look until stopped."""
        while not self._stopping.is_set():
            self._look(shutil.disk_usage(self._folder).free)
            await happens(self._stopping, within=_LOOK_SECONDS)

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()

    def _look(self, free_bytes: int) -> None:
        if free_bytes < _FULL_BYTES and not self._full:
            self._full = True
            self._on_event(
                f"the disk of {self._folder} is full ({size(free_bytes)} left): frames may be refused. What was "
                "accepted is safe; free some space, and it goes on"
            )
        elif free_bytes < self._low_bytes and not self._low:
            self._on_event(f"the disk of {self._folder} has {size(free_bytes)} left: free some space soon")
        elif self._full and free_bytes >= 2 * _FULL_BYTES:
            self._full = False
            self._on_event(f"the disk of {self._folder} has {size(free_bytes)} again; NATS is started anew")
            self._restart_nats()
        self._low = free_bytes < 2 * self._low_bytes if self._low else free_bytes < self._low_bytes
