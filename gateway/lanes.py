"""One model's lane: from references of stored frames to results, at the model's own pace."""

import asyncio
import random
import time
from collections import Counter
from contextlib import aclosing, suppress
from dataclasses import dataclass

import nats.errors
import nats.js.errors
import structlog
from google.protobuf.message import DecodeError
from nats.aio.msg import Msg

from framemesh.bus import Bus, consume, streams
from framemesh.bus.consuming import ConsumerGoneError
from framemesh.bus.leases import Leases
from framemesh.errors import (
    DeadlineError,
    FramemeshError,
    InternalError,
    LakeUnavailableError,
    ModelUnavailableError,
    QueueFullError,
)
from framemesh.frames import frame_id_of
from framemesh.lake import Lake
from framemesh.v1.answer_pb2 import AnswerOptions
from framemesh.v1.frame_pb2 import Frame, StoredFrame
from framemesh.v1.inference_service_pb2 import InferResponse, Priority
from framemesh.v1.model_pb2 import ModelSpec
from gateway import policies, results
from gateway.asking import Asker
from gateway.deadletters import DeadLetters
from gateway.holding import FrameHold
from gateway.metrics import GatewayMetrics
from gateway.policies import Waiting

log = structlog.get_logger()

_ASK_SECONDS = 10.0
_MAX_FAULTS = 3  # a frame on which a model fails or hangs so often is given up
_RETRY_SECONDS = (0.05, 1.0)  # first and longest wait between tries
_BATCH = 128
_BATCH_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class LaneParts:
    """What all lanes share."""

    bus: Bus
    lake: Lake
    hold: FrameHold
    asker: Asker
    results: results.Results
    deadletters: DeadLetters
    metrics: GatewayMetrics


@dataclass(slots=True)
class _Reference:
    frame: Frame
    message: Msg
    faults: int = 0


class Lane:
    """Feeds one model. Nothing here waits for another model, and nothing that stores waits for this.

    Args:
        spec: The model.
        parts: What all lanes share.
    """

    def __init__(self, spec: ModelSpec, parts: LaneParts) -> None:
        self.spec = spec
        self.name = f"lane {spec.name}"
        self._parts = parts
        self._queue: policies.Queue[_Reference] = policies.queue_for(spec.policy)
        # What is sent beyond the images that run at once waits at the server: that keeps it busy, but ages the frame.
        self._ahead = 2 if spec.policy.HasField("every") else 1
        self._sent = 0
        self._delay = _RETRY_SECONDS[0]
        self._skipped: Counter[str] = Counter()
        self._leases = Leases()
        self._woken = asyncio.Event()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Work until stopped, then finish the frames that were sent."""
        self._parts.metrics.start_model(self.spec.name)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._leases.run())
            reading = group.create_task(self._read())
            sending = group.create_task(self._send(group))
            await self._stopping.wait()
            reading.cancel()
            await sending
            while waiting := self._queue.take():  # whoever comes next takes them up at once
                await self._give_back(waiting.item.message)
            self._leases.stop()

    def stop(self) -> None:
        """Send no more frames."""
        self._stopping.set()
        self.wake()

    def wake(self) -> None:
        """Look again whether a frame can be sent: the model's servers may have changed."""
        self._woken.set()

    async def _read(self) -> None:
        """Fill the queue; the policy says what is passed over."""
        references = consume(
            self._parts.bus,
            streams.STORED,
            await self._consumer(),
            batch=_BATCH,
            max_bytes=_BATCH_BYTES,
            room=lambda: self._leases.below(_BATCH),
        )
        try:
            async with aclosing(references):
                async for message in references:
                    await self._offer(message)
        except ConsumerGoneError:
            log.info("lane.consumer_deleted", model=self.spec.name)

    async def _consumer(self) -> str:
        while True:
            try:
                return await streams.ensure_model_consumer(
                    self._parts.bus, self.spec.name, list(self.spec.cameras), max_ack_pending=2 * _BATCH
                )
            except (nats.errors.Error, nats.js.errors.Error, TimeoutError) as error:
                log.warning("lane.waits_for_nats", model=self.spec.name, error=str(error))
                await self._pause(_RETRY_SECONDS[1])

    async def _offer(self, message: Msg) -> None:
        sequence = message.metadata.sequence.stream
        stored = reference(message.data)
        if stored is None:  # none of ours: somebody else wrote to the stream
            log.warning("reference.unreadable", model=self.spec.name, sequence=sequence)
            await message.term()
            return
        self._leases.hold(message)
        waiting = Waiting(
            stored.frame.camera,
            sequence,
            stored.frame.capture_time.ToNanoseconds(),
            stored.store_time.ToNanoseconds(),
            _Reference(stored.frame, message),
        )
        await self._skip(self._queue.offer(waiting))
        self.wake()

    async def _send(self, group: asyncio.TaskGroup) -> None:
        """Send frames, each as soon as a server has room for it; once stopped, wait for those that were sent."""
        while self._sent or not self._stopping.is_set():
            while not self._stopping.is_set() and self._has_room() and (waiting := self._queue.take()):
                self._sent += 1
                group.create_task(self._handle(waiting))
            self._woken.clear()
            await self._woken.wait()

    def _has_room(self) -> bool:
        return self._sent < self._ahead * self._parts.asker.images_at_once(self.spec.name)

    async def _handle(self, waiting: Waiting[_Reference]) -> None:
        try:
            await self._answer(waiting.item)
            self._delay = _RETRY_SECONDS[0]
        except Exception as error:  # one strange frame must not stop the others
            if not isinstance(error, FramemeshError):
                log.exception("frame.fault", model=self.spec.name, frame_id=waiting.item.frame.frame_id)
            log.debug("frame.again", model=self.spec.name, frame_id=waiting.item.frame.frame_id, error=str(error))
            self._parts.metrics.retries.labels(self.spec.name).inc()
            await self._pause(self._delay)
            self._delay = min(2 * self._delay, _RETRY_SECONDS[1])
            # The frame goes on as the next one, unless its policy has a better one by now.
            await self._skip(self._queue.restore(waiting))
        finally:
            self._sent -= 1
            self.wake()

    async def _answer(self, waiting: _Reference) -> None:
        """Get one frame its result.

        Raises:
            FramemeshError: Not now; trying again may help.
        """
        frame = waiting.frame
        started = time.monotonic()
        try:
            response = await self._ask(frame)
        except (ModelUnavailableError, QueueFullError, LakeUnavailableError):
            raise
        except FramemeshError as error:
            waiting.faults += 1
            if isinstance(error, DeadlineError | InternalError) and waiting.faults < _MAX_FAULTS:
                raise
            await self._parts.deadletters.write(frame, error, subject=f"stored.{frame.camera}", model=self.spec.name)
            answer = results.failed(self.spec.name, error)
        else:
            answer = results.succeeded(self.spec.name, response)
        latency_seconds = time.monotonic() - started
        skipped = self._skipped.pop(frame.camera, 0)
        await self._parts.results.write(frame, answer, latency_seconds=latency_seconds, skipped=skipped)
        await self._settle(waiting.message)

    async def _ask(self, frame: Frame) -> InferResponse:
        body = self._parts.hold.get(frame.object_key)
        if body is None:
            self._parts.metrics.lake_reads.labels(self.spec.name).inc()
            body, _ = await self._parts.lake.get(frame.object_key)
        return await self._parts.asker.ask(
            self.spec.name, body, AnswerOptions(), priority=Priority.PRIORITY_BACKGROUND, timeout=_ASK_SECONDS
        )

    async def _skip(self, passed: list[Waiting[_Reference]]) -> None:
        for waiting in passed:
            self._skipped[waiting.camera] += 1
            self._parts.metrics.answers.labels(self.spec.name, "skipped").inc()
            await self._settle(waiting.item.message)

    async def _settle(self, message: Msg) -> None:
        self._leases.release(message)
        with suppress(nats.errors.Error):  # unacknowledged, it comes again, and its result has the same id
            await message.ack()

    async def _give_back(self, message: Msg) -> None:
        self._leases.release(message)
        with suppress(nats.errors.Error):  # else it comes again after ack_wait
            await message.nak()

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(random.uniform(0.5, 1.0) * seconds):  # noqa: S311 - jitter
                await self._stopping.wait()


def reference(body: bytes) -> StoredFrame | None:
    """The reference in a message on `stored.<camera>`; none where it refers to no frame of its camera."""
    try:
        stored = StoredFrame.FromString(body)
    except DecodeError:
        return None
    frame_id = frame_id_of(stored.frame.object_key)
    named = frame_id is not None and (str(frame_id), frame_id.camera) == (stored.frame.frame_id, stored.frame.camera)
    return stored if named else None
