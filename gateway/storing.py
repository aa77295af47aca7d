"""From NATS to the lake: a frame is acknowledged once its object is durable and its reference is out.

Frames are taken in the order in which NATS accepted them and stored several at once, so references of one camera may
change places: while nothing goes wrong a frame by fewer than 2 x `workers` places, a fraction of a second; one that was
put off, or that a killed gateway held, comes as much later as that took. Nothing downstream needs more: objects have
keys of their own, `every` and the tables want each frame once, and `latest` goes by capture time among frames taken
within 5 s of one another (`gateway.policies`).
"""

import asyncio
import time
from contextlib import aclosing, suppress

import nats.errors
import structlog
from nats.aio.msg import Msg

from framemesh import frames
from framemesh.bus import Bus, consume, streams
from framemesh.bus.leases import Leases
from framemesh.errors import (
    BusUnavailableError,
    ImageTooLargeError,
    InvalidImageError,
    InvalidNameError,
    LakeUnavailableError,
)
from framemesh.images import read_header
from framemesh.lake import Lake
from framemesh.telemetry import tracing
from framemesh.v1.frame_pb2 import Frame, StoredFrame
from framemesh.waiting import Backoff, backed_off, cancelled
from gateway.deadletters import DeadLetters
from gateway.holding import FrameHold
from gateway.metrics import GatewayMetrics
from gateway.syncing import DiskSync

log = structlog.get_logger()

_ACK_SECONDS = 5.0
_PUT_OFF_SECONDS = (0.25, 5.0)  # first and longest wait before a frame comes again
_LEAVE_ALONE_SECONDS = (0.25, 5.0)  # first and longest time in which a store in trouble gets no more frames
_UNKNOWN = "unknown"
_REFUSALS = (InvalidNameError, InvalidImageError, ImageTooLargeError)


class Storer:
    """Stores every frame of the stream once under its own key.

    Args:
        bus: Where frames come from and references go.
        lake: Where they are stored.
        hold: Where models find the bytes of frames just stored.
        deadletters: Where messages go that are no frames.
        metrics: What is counted.
        sync: Says when what the lake has acknowledged outlives a power failure.
        workers: Frames being stored at once; while they are, as many more may be on their way here.
        max_bytes: What all of them together may take; at least two of the largest messages.
    """

    name = "storer"

    def __init__(
        self,
        bus: Bus,
        lake: Lake,
        hold: FrameHold,
        deadletters: DeadLetters,
        metrics: GatewayMetrics,
        *,
        sync: DiskSync,
        workers: int,
        max_bytes: int,
    ) -> None:
        self._bus = bus
        self._lake = lake
        self._hold = hold
        self._deadletters = deadletters
        self._metrics = metrics
        self._sync = sync
        self._workers = workers
        self._batch_bytes = max_bytes // 2
        self._leases = Leases()
        self._trouble = Trouble(*_LEAVE_ALONE_SECONDS)
        self._stopping = asyncio.Event()
        self._cameras = {_UNKNOWN}
        metrics.start_camera(_UNKNOWN)  # or the first of its messages would be no increase

    async def run(self) -> None:
        """Store until stopped, then finish the frames that are held."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._leases.run())
            pulling = group.create_task(self._pull(group))
            await self._stopping.wait()
            await cancelled(pulling)
            await self._leases.below(1)
            self._leases.stop()

    def stop(self) -> None:
        """Take no more frames."""
        self._stopping.set()

    def problem(self) -> str | None:
        """Why the last frame could not be stored; none where it could."""
        return self._trouble.words

    async def _pull(self, group: asyncio.TaskGroup) -> None:
        messages = consume(
            self._bus,
            streams.FRAMES,
            streams.STORE_CONSUMER,
            batch=self._workers,
            max_bytes=self._batch_bytes,
            room=self._room,
        )
        async with aclosing(messages):
            async for message in messages:
                self._leases.hold(message)
                self._metrics.storing_bytes.set(self._leases.size_bytes)
                group.create_task(self._handle(message))

    async def _room(self) -> None:
        """Wait until another batch may come: for memory, and for a store in trouble to have some rest."""
        await self._leases.below(self._workers, self._batch_bytes)
        await self._trouble.over()

    async def _handle(self, message: Msg) -> None:
        """Settle one message, as a step of the trace that its camera began."""
        with tracing.span("store frame", kind="CONSUMER", parent=message.headers or {}):
            await self._take(message)

    async def _take(self, message: Msg) -> None:
        """Settle one message: stored, dead-lettered, or put off."""
        started = time.monotonic()
        camera = message.subject.removeprefix(frames.SUBJECT_PREFIX)
        self._metrics.storing.inc()
        try:
            outcome = await self._settle(message)
        except (LakeUnavailableError, BusUnavailableError) as error:
            self._trouble.met(str(error))
            delay = backed_off(message.metadata.num_delivered, *_PUT_OFF_SECONDS)
            log.warning("frame.put_off", **_named(message), seconds=round(delay, 2), error=str(error))
            await self._give_back(message, delay)
            outcome = "put_off"
        except Exception:  # one strange frame must not stop the others
            log.exception("frame.fault", **_named(message))
            await self._give_back(message, _PUT_OFF_SECONDS[1])
            outcome = "put_off"
        finally:
            self._leases.release(message)
            self._metrics.storing.dec()
            self._metrics.storing_bytes.set(self._leases.size_bytes)
        if outcome == "stored":
            self._trouble.ended()
            self._metrics.store_seconds.observe(time.monotonic() - started, tracing.exemplar())
            self._metrics.stored_age_seconds.observe(max(0.0, time.time() - message.metadata.timestamp.timestamp()))
            self._metrics.frame_bytes.labels(camera).inc(len(message.data))
        self._count(camera, outcome)

    async def _settle(self, message: Msg) -> str:
        frame = Frame(frame_id=f"unnamed-{message.metadata.sequence.stream}", size_bytes=len(message.data))
        try:
            frame = announced(message)
            tracing.note(camera=frame.camera, frame_id=frame.frame_id)
            look(frame, message.data)
        except _REFUSALS as error:
            sequence = message.metadata.sequence.stream
            await self._deadletters.write(frame, error, subject=message.subject, body=message.data, sequence=sequence)
            await self._acknowledge(message)
            return "dead_lettered"
        metadata = {
            "captured-at": frame.capture_time.ToJsonString(),
            "width-px": str(frame.width_px),
            "height-px": str(frame.height_px),
        }
        if frame.HasField("camera_sequence"):
            metadata["camera-sequence"] = str(frame.camera_sequence)
        await self._lake.put(frame.object_key, message.data, content_type=frame.content_type, metadata=metadata)
        self._hold.put(frame.object_key, message.data)
        self._metrics.held_bytes.set(self._hold.size_bytes)
        if not self._leases.holds(message):  # we were frozen for long: it is another's, whose reference is out
            return "put_off"
        stored = StoredFrame(frame=frame, store_time=frames.timestamp(time.time_ns()))
        with tracing.span("publish reference", kind="PRODUCER"):
            await self._bus.publish(
                f"stored.{frame.camera}",
                stored.SerializeToString(),
                {frames.MESSAGE_ID: frame.frame_id},
                timeout=_ACK_SECONDS,
            )
        with tracing.span("sync disk"):
            await self._sync.synced()  # models needn't wait for it: what a power failure takes is stored again
        await self._acknowledge(message)
        return "stored"

    async def _acknowledge(self, message: Msg) -> None:
        try:
            await message.ack()
        except nats.errors.Error as error:
            # It may come again, and is then stored over itself; its reference is told from the first by its id.
            log.warning("frame.acknowledgement_unsure", **_named(message), error=str(error))

    async def _give_back(self, message: Msg, delay: float) -> None:
        try:
            await message.nak(delay)
        except nats.errors.Error:
            log.debug("frame.comes_after_ack_wait", **_named(message))

    def _count(self, camera: str, outcome: str) -> None:
        # A hostile publisher can make up names without end: only proper cameras get a label of their own.
        label = camera if outcome != "dead_lettered" or camera in self._cameras else _UNKNOWN
        if label not in self._cameras:
            self._cameras.add(label)
            self._metrics.start_camera(label)
        self._metrics.frames.labels(label, outcome).inc()


class Trouble:
    """Says how long to leave alone what fails: each time longer, with jitter, until something works again.

    Args:
        first: Seconds of the first wait.
        longest: Seconds of the longest.
    """

    def __init__(self, first: float, longest: float) -> None:
        self._backoff = Backoff(first, longest)
        self._until = 0.0
        self.words: str | None = None
        """Why it failed last; none once it works."""

    def met(self, words: str) -> None:
        """It failed. What else fails during the wait was under way before it, and lengthens nothing."""
        self.words = words
        if time.monotonic() >= self._until:
            self._until = time.monotonic() + self._backoff.next_seconds()

    def ended(self) -> None:
        """It worked."""
        self._backoff.reset()
        self._until = 0.0
        self.words = None

    async def over(self) -> None:
        """Wait for the time to try again."""
        while (left := self._until - time.monotonic()) > 0:
            await asyncio.sleep(left)


def announced(message: Msg) -> Frame:
    """What a message says of its frame, before anyone looks at the image.

    Raises:
        InvalidNameError: The subject names no camera.
    """
    arrival = frames.arrival(
        message.subject,
        message.headers or {},
        stream_time=message.metadata.timestamp,
        stream_sequence=message.metadata.sequence.stream,
    )
    return Frame(
        frame_id=str(arrival.frame_id),
        camera=arrival.frame_id.camera,
        capture_time=arrival.capture_time,
        size_bytes=len(message.data),
        camera_sequence=arrival.camera_sequence,
    )


def look(frame: Frame, body: bytes) -> None:
    """Fill in what the image itself says, and the key that follows from it.

    Raises:
        InvalidImageError: It is no image, or a cut one.
        ImageTooLargeError: It is over the limits.
    """
    header = read_header(body)
    frame.width_px, frame.height_px, frame.content_type = header.width_px, header.height_px, header.content_type
    frame_id = frames.FrameId(frame.camera, int(frame.frame_id.rpartition("-")[2]))
    frame.object_key = frames.object_key(frame_id, header.content_type)


def _named(message: Msg) -> dict[str, str]:
    """What log lines call a message."""
    with suppress(InvalidNameError):
        return {"subject": message.subject, "frame_id": announced(message).frame_id}
    return {"subject": message.subject}
