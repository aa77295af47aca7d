"""One frame to JetStream, once: made small enough, published, counted."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import structlog
from nats.js.api import PubAck

from framemesh.bus.connection import ACK_SECONDS
from framemesh.errors import FramemeshError, ImageTooLargeError, InvalidImageError
from framemesh.frames import CONTENT_TYPE, HEIGHT, NANOSECONDS, WIDTH, subject
from framemesh.telemetry import tracing
from ingest.buffers import Frame
from ingest.health import CameraHealth
from ingest.metrics import IngestMetrics
from ingest.shrinking import shrunk

_SLOWEST_BYTES_A_SECOND = 128 * 1024
"""On a slower line receipts come later than they are waited for, and frames are sent again and again."""


class Line(Protocol):
    """What takes frames: `ingest.lines`', or a `Bus` itself."""

    def body_limit(self, headers: Mapping[str, str]) -> float:
        """How large a body may be beside these headers."""

    async def publish(self, subject: str, body: bytes, headers: Mapping[str, str], *, timeout: float) -> PubAck:
        """Publish and wait for the receipt; see `Bus.publish`."""


class Sending:
    """Sends one camera's frames, in the order in which it is asked to."""

    def __init__(self, line: Line, health: CameraHealth, metrics: IngestMetrics) -> None:
        self._line = line
        self._health = health
        self._metrics = metrics
        self._subject = subject(health.camera)
        self._order = asyncio.Lock()
        self._log = structlog.get_logger().bind(camera=health.camera)

    async def send(self, frame: Frame, *, under_way_bytes: int) -> bool:
        """Publish a frame; false where NATS takes it at no size that we make.

        Args:
            frame: What is to be sent.
            under_way_bytes: What is on the line at once, this one too: the receipt may take as long as all of it.

        Raises:
            BusUnavailableError: No receipt; it may have arrived nevertheless, and may be sent again.
            StreamFullError: The stream has no room.
        """
        timeout = ACK_SECONDS + under_way_bytes / _SLOWEST_BYTES_A_SECOND
        try:
            async with self._order:  # those behind it wait while it is made smaller
                fitting = await self._fitting(frame, self._line.body_limit(frame.headers))
            try:
                await self._publish(fitting, timeout)
            except ImageTooLargeError as error:  # the stream's limit, which nobody told; or one that has just changed
                limit = float(error.values.get("limit_bytes", len(fitting.body) * 0.75))
                await self._publish(await self._fitting(frame, limit), timeout)
        except (ImageTooLargeError, InvalidImageError) as error:
            self._refuse(frame, error)
            return False
        return True

    def arrived(self, frame: Frame) -> None:
        """Count a frame that has."""
        camera = self._health.camera
        self._health.published(frame.frame_id.captured_ns)
        self._metrics.frames.labels(camera, "published").inc()
        taken = max(0.0, (time.time_ns() - frame.frame_id.captured_ns) / NANOSECONDS)
        self._metrics.publish_seconds.labels(camera).observe(taken)

    async def _publish(self, frame: Frame, timeout: float) -> None:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError  # nats-py swallows one that comes while it flushes
        camera, frame_id = self._health.camera, str(frame.frame_id)
        with tracing.span("publish frame", kind="PRODUCER", parent=frame.headers, camera=camera, frame_id=frame_id):
            await self._line.publish(self._subject, frame.body, frame.headers, timeout=timeout)

    async def _fitting(self, frame: Frame, limit_bytes: float) -> Frame:
        """The frame, or one made smaller where it takes more than so many bytes.

        Raises:
            ImageTooLargeError: It can't be made so small.
            InvalidImageError: It can't be decoded.
        """
        if len(frame.body) <= limit_bytes:
            return frame
        picture = await asyncio.to_thread(shrunk, frame.body, limit_bytes=int(limit_bytes))
        if picture is None:
            raise ImageTooLargeError(
                f"{len(frame.body):,} bytes can't be made to fit the {int(limit_bytes):,} that NATS takes: raise its "
                "max_payload, or set a smaller size for the camera",
                size_bytes=len(frame.body),
                limit_bytes=int(limit_bytes),
            )
        self._metrics.reencoded.labels(self._health.camera).inc()
        sizes = {WIDTH: str(picture.size.width_px), HEIGHT: str(picture.size.height_px)}
        return replace(frame, body=picture.body, headers={**frame.headers, CONTENT_TYPE: picture.content_type, **sizes})

    def _refuse(self, frame: Frame, error: FramemeshError) -> None:
        self._metrics.frames.labels(self._health.camera, "too_large").inc()
        self._health.dropped(1, str(error))
        self._log.warning("frame.too_large", frame_id=str(frame.frame_id), error=str(error))
