"""Reading a source in a thread of its own, so that whatever it does, nothing else waits for it."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Condition, Thread
from traceback import format_tb

import structlog

from framemesh.errors import FramemeshError, ImageTooLargeError, InternalError, InvalidImageError
from framemesh.frames import NANOSECONDS
from framemesh.waiting import happens
from ingest import troubles
from ingest.metrics import IngestMetrics
from ingest.pacing import Pace
from ingest.rates import FpsCap
from ingest.settings import DEFAULT_FPS, CameraSettings
from ingest.shots import EndOfSource, Shot, Source, Stalled, Timing
from ingest.spells import Spell

_OPEN_SECONDS = 30.0
"""On top of the time in which a camera must answer: a large photo is panned once through before its first picture."""
_WATCH_SECONDS = 0.25
_LATEST_SECONDS = 1.0
"""A recording that is shown later than this goes on from where it is: no frame is left out to catch up."""


class Reading:
    """One opening of a camera's source, until it fails, ends or is given up.

    Its thread waits for nobody. A call into FFmpeg or a driver that never returns can't be ended, only left behind: the
    thread is a daemon, touches nothing of ours any more, and ends when the call does.

    Args:
        camera: What is asked for.
        open_source: Opens it; called in the thread.
        metrics: Told of shots that can't be used.
    """

    def __init__(
        self, camera: CameraSettings, open_source: Callable[[CameraSettings], Source], metrics: IngestMetrics
    ) -> None:
        self._camera = camera
        self._open = open_source
        self._metrics = metrics
        self._log = structlog.get_logger().bind(camera=camera.name)
        self._unreadable = Spell(self._log, began="camera.picture_unreadable", over="camera.pictures_sound")
        self._too_large = Spell(self._log, began="camera.picture_too_large", over="camera.pictures_fit")
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._changed = Condition()  # guards what follows
        self._shot: tuple[Shot, int] | None = None
        self._closing = False
        self._over = False
        self._error: FramemeshError | Stalled | None = None
        self.is_live = True
        """Whether it is read as it comes, as far as is known."""
        self._called: float | None = None  # since when the source has had the word
        self._patience: float | None = camera.stall_seconds + _OPEN_SECONDS
        self._thread = Thread(target=self._run, name=f"read {camera.name}", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether the thread has ended."""
        return not self._thread.is_alive()

    def close(self) -> None:
        """Take nothing more. Returns at once; the thread ends as soon as the source lets it."""
        with self._changed:
            self._closing = True
            self._shot = None
            self._changed.notify_all()
        self._news.set()

    async def next(self) -> tuple[Shot, int] | None:
        """The next shot and when it arrived, in Unix nanoseconds; none at the end, or once it is closed.

        Raises:
            Stalled: It gives nothing, or hangs: give the reading up.
            SourceUnavailableError: It is lost.
            ConfigurationError: It isn't there, or is nothing that pictures come from.
        """
        while True:
            self._news.clear()
            with self._changed:
                if self._shot is not None:
                    taken, self._shot = self._shot, None
                    self._changed.notify_all()
                    return taken
                if self._over or self._closing:
                    if self._error is not None:
                        raise self._error
                    return None
                called, patience = self._called, self._patience
            if called is not None and patience is not None and time.monotonic() - called > patience:
                raise troubles.stalled(self._camera.place, patience)
            await happens(self._news, within=_WATCH_SECONDS)

    def _run(self) -> None:
        source: Source | None = None
        error: FramemeshError | Stalled | None = None
        try:
            self._called = time.monotonic()
            source = self._open(self._camera)
            with self._changed:
                self._called, self._patience = None, source.patience_seconds
                self.is_live = source.timing is Timing.LIVE
            if self.is_live:
                self._read_live(source)
            elif source.timing is Timing.TIMED:
                self._read_timed(source)
            else:
                self._read_paced(source)
        except EndOfSource:
            pass
        except (FramemeshError, Stalled) as known:
            error = known
        except Exception as fault:  # noqa: BLE001 - a fault in one camera's source must not stop it for good
            # Its words may hold the URL, and with it a password.
            self._log.error("camera.fault", kind=type(fault).__name__, trace=format_tb(fault.__traceback__))
            error = InternalError(f"source {self._camera.place}: {type(fault).__name__}; the agent's log has more")
        if source is not None:
            self._called = time.monotonic()
            with suppress(Exception):  # it is given up, whatever it says to that
                source.close()
        with self._changed:
            self._over, self._error, self._called = True, error, None
        self._tell()

    def _read_live(self, source: Source) -> None:
        cap = FpsCap(self._camera.fps) if self._camera.fps else None
        while not self._closing:
            shot = self._read(source)
            if shot is not None and (cap is None or cap.admits(_at(shot))):
                self._replace(shot)

    def _read_timed(self, source: Source) -> None:
        cap = FpsCap(self._camera.fps) if self._camera.fps else None
        start: float | None = None
        while not self._closing:
            shot = self._read(source)
            if shot is None or not (cap is None or cap.admits(_at(shot))):
                continue
            now = time.monotonic()
            if start is None or now - (start + _at(shot)) > _LATEST_SECONDS:
                start = now - _at(shot)
            if self._wait_until(start + _at(shot)):
                self._put(shot)

    def _read_paced(self, source: Source) -> None:
        pace = Pace.of(self._camera.fps or DEFAULT_FPS, start_ns=time.monotonic_ns())
        slot = 0
        while not self._closing:
            shot = self._read(source)  # ahead of its slot, so that reading doesn't delay it
            if self._wait_until(pace.due_ns(slot) / NANOSECONDS) and shot is not None:
                self._put(shot)
            following = pace.next_slot(slot, time.monotonic_ns())
            self._metrics.frames.labels(self._camera.name, "late").inc(following - slot - 1)
            slot = following

    def _read(self, source: Source) -> Shot | None:
        """The next shot; none where there is none at present, or it can't be used."""
        self._called = time.monotonic()
        try:
            shot = source.read()
        except (ImageTooLargeError, InvalidImageError) as error:
            if not self._closing:
                self._pass_over(error)
        else:
            if shot is not None:
                self._too_large.end()
                self._unreadable.end()
            return shot
        finally:
            self._called = None
        return None

    def _pass_over(self, error: ImageTooLargeError | InvalidImageError) -> None:
        too_large = isinstance(error, ImageTooLargeError)
        self._metrics.frames.labels(self._camera.name, "too_large" if too_large else "unreadable").inc()
        (self._too_large if too_large else self._unreadable).hit(error=str(error))

    def _replace(self, shot: Shot) -> None:
        """Hand over the newest; one that nobody has taken yet is late."""
        with self._changed:
            late = self._shot is not None
            self._shot = None if self._closing else (shot, time.time_ns())
        if late:
            self._metrics.frames.labels(self._camera.name, "late").inc()
        self._tell()

    def _put(self, shot: Shot) -> None:
        """Hand over once the last one is taken."""
        with self._changed:
            self._changed.wait_for(lambda: self._shot is None or self._closing)
            self._shot = None if self._closing else (shot, time.time_ns())
        self._tell()

    def _wait_until(self, due: float) -> bool:
        """Wait for a monotonic time; false as soon as nothing more is taken."""
        with self._changed:
            return not self._changed.wait_for(lambda: self._closing, timeout=max(0.0, due - time.monotonic()))

    def _tell(self) -> None:
        with suppress(RuntimeError):  # the loop is closed: we were left behind
            self._loop.call_soon_threadsafe(self._news.set)


def _at(shot: Shot) -> float:
    """When the shot was taken: by the source's own time, or else by ours."""
    return time.monotonic() if shot.at_seconds is None else shot.at_seconds
