"""One model's lane: from references of stored frames to results, at the model's own pace."""

import asyncio
import time
from collections import Counter
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import UTC
from functools import lru_cache

import nats.errors
import structlog
from google.protobuf.message import DecodeError
from nats.aio.msg import Msg

from framemesh.bus import Bus, consume, streams
from framemesh.bus.consuming import ConsumerGoneError
from framemesh.bus.leases import Leases
from framemesh.errors import (
    BusUnavailableError,
    DeadlineError,
    FramemeshError,
    InternalError,
    LakeUnavailableError,
    ModelUnavailableError,
    QueueFullError,
    ServerLostError,
)
from framemesh.frames import frame_id_of
from framemesh.lake import Lake
from framemesh.telemetry import tracing
from framemesh.v1.answer_pb2 import AnswerOptions, ModelAnswer
from framemesh.v1.frame_pb2 import Frame, StoredFrame
from framemesh.v1.inference_service_pb2 import Priority
from framemesh.v1.model_pb2 import ModelSpec
from framemesh.waiting import Backoff, cancelled, happens, jittered
from gateway import policies, results
from gateway.answered import Answered
from gateway.asking import Asker
from gateway.deadletters import DeadLetters
from gateway.holding import FrameHold
from gateway.metrics import GatewayMetrics
from gateway.policies import Waiting

log = structlog.get_logger()

_ASK_SECONDS = 10.0
_MAX_FAULTS = 3  # a frame on which a model fails, hangs or ends so often is given up
_RETRY_SECONDS = (0.05, 1.0)  # first and longest wait between tries
_BATCH = 128
_BATCH_BYTES = 2 * streams.MAX_PAYLOAD_BYTES  # ours have 250 each, but NATS stops at one that is over the limit
_GONE_SECONDS = 30.0  # the registry has heard of a deleted model by then
_MAX_REFERENCE_BYTES = 4096  # ours have 250
_RECENT = 512  # references whose parsed form the lanes share
_PASSING = (ModelUnavailableError, QueueFullError, LakeUnavailableError, BusUnavailableError)


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
    """A reference, and how it fared here.

    Attributes:
        frame: The frame. Shared by all lanes: never changed.
        message: Where it is settled.
        unsure_since: Since when, by `time.monotonic`, its result may be out without our knowing; none where it isn't.
        faults: How often the model, or we, failed on it, by its own fault as far as anyone can tell.
        suspected: A server was lost, or took too long, while it had the frame. It may have been the frame, or one
            beside it, so it is tried again alone: what happens then is its own doing.
    """

    frame: Frame
    message: Msg
    unsure_since: float | None
    faults: int = 0
    suspected: bool = False


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
        # What waits at the server keeps it busy, but ages the frame.
        self._queued = spec.policy.HasField("every")
        self._sent = 0
        self._suspect: Waiting[_Reference] | None = None  # is tried, or waits for those that were sent before it
        self._backoff = Backoff(*_RETRY_SECONDS)
        self._skipped: Counter[str] = Counter()
        self._answered = Answered(parts.bus, spec.name, shadow=spec.shadow)
        self._leases = Leases()
        self._woken = asyncio.Event()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Work until stopped, then finish the frames that were sent."""
        self._parts.metrics.start_model(self.spec.name, shadow=self.spec.shadow)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._leases.run())
                reading = group.create_task(self._read())
                sending = group.create_task(self._send(group))
                await self._stopping.wait()
                await cancelled(reading)
                await sending
                self._leases.stop()
        finally:  # however it ends: whoever comes next takes up at once what is left
            for message in self._leases.held():
                await self._give_back(message)

    def stop(self) -> None:
        """Send no more frames."""
        self._stopping.set()
        self.wake()

    def wake(self) -> None:
        """Look again whether a frame can be sent: the model's servers may have changed."""
        self._woken.set()

    async def _read(self) -> None:
        """Fill the queue; the policy says what is passed over."""
        while not self._stopping.is_set():
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
                        try:
                            await self._offer(message)
                        except Exception:  # or it would come again, and end the lane again, for ever
                            sequence = message.metadata.sequence.stream
                            log.exception("reference.fault", model=self.spec.name, sequence=sequence)
                            await self._settle(message)
            except ConsumerGoneError:
                # With its model, mostly, and then the stop comes. Else somebody deleted the consumer alone.
                log.info("lane.consumer_deleted", model=self.spec.name)
                await self._pause(jittered(_GONE_SECONDS))
            else:
                return

    async def _consumer(self) -> str:
        start = self.spec.start.ToDatetime(UTC) if self.spec.HasField("start") else None
        while True:
            try:
                return await streams.ensure_model_consumer(
                    self._parts.bus, self.spec.name, list(self.spec.cameras), max_ack_pending=2 * _BATCH, start=start
                )
            except (nats.errors.Error, TimeoutError) as error:
                log.warning("lane.waits_for_nats", model=self.spec.name, error=str(error))
                await self._pause(jittered(_RETRY_SECONDS[1]))

    async def _offer(self, message: Msg) -> None:
        metadata = message.metadata
        stored = reference(message.data)
        if stored is None:  # none of ours: somebody else wrote to the stream
            log.warning("reference.unreadable", model=self.spec.name, sequence=metadata.sequence.stream)
            await self._settle(message)
            return
        self._leases.hold(message)
        again = metadata.num_delivered > 1
        waiting = Waiting(
            stored.frame.camera,
            metadata.sequence.stream,
            stored.frame.capture_time.ToNanoseconds(),
            stored.store_time.ToNanoseconds(),
            _Reference(stored.frame, message, time.monotonic() if again else None),
        )
        await self._skip(self._queue.offer(waiting))
        self.wake()

    async def _send(self, group: asyncio.TaskGroup) -> None:
        """Send frames, each as soon as a server has room for it; once stopped, wait for those that were sent."""
        while self._sent or not self._stopping.is_set():
            while not self._stopping.is_set() and (waiting := self._next()):
                self._sent += 1
                group.create_task(self._handle(waiting))
            self._woken.clear()
            await self._woken.wait()

    def _next(self) -> Waiting[_Reference] | None:
        """The frame to send now, if there is one and room for it. A suspect goes alone."""
        if self._suspect is None:
            if self._sent >= self._parts.asker.images_at_once(self.spec.name, queued=self._queued):
                return None
            waiting = self._queue.take()
            if waiting is None or not waiting.item.suspected:
                return waiting
            self._suspect = waiting
        room = not self._sent and self._parts.asker.images_at_once(self.spec.name) > 0
        return self._suspect if room else None

    async def _handle(self, waiting: Waiting[_Reference]) -> None:
        """Try one frame, as a step of its trace, however long after it was stored."""
        item = waiting.item
        frame, parent = item.frame, item.message.headers or {}
        with tracing.span(
            "analyse frame",
            kind="CONSUMER",
            parent=parent,
            model=self.spec.name,
            camera=frame.camera,
            frame_id=frame.frame_id,
        ):
            await self._try(waiting)

    async def _try(self, waiting: Waiting[_Reference]) -> None:
        item = waiting.item
        try:
            if self._leases.holds(item.message):
                await self._answer(item)
            self._backoff.reset()
        except Exception as error:  # one strange frame must not stop the others
            if not isinstance(error, FramemeshError):
                log.exception("frame.fault", model=self.spec.name, frame_id=item.frame.frame_id)
                if item.faults > _MAX_FAULTS:  # a fault of ours, where not even a failed result can be written
                    await self._settle(item.message)
                    return
            log.debug("frame.again", model=self.spec.name, frame_id=item.frame.frame_id, error=str(error))
            self._parts.metrics.retries.labels(self.spec.name).inc()
            await self._pause(self._backoff.next_seconds())
            # The frame goes on as the next one, unless its policy has a better one by now.
            await self._skip(self._queue.restore(waiting))
        finally:
            if self._suspect is waiting:
                self._suspect = None
            self._sent -= 1
            self.wake()

    async def _answer(self, item: _Reference) -> None:
        """Get one frame its result.

        Raises:
            Exception: Not now; trying again may help.
        """
        frame = item.frame
        if item.unsure_since is not None and await self._answered.has(frame.frame_id, since=item.unsure_since):
            await self._settle(item.message)
            return
        started = time.monotonic()
        try:
            answer = await self._ask(frame)
            await self._publish(item, answer, latency_seconds=time.monotonic() - started)
        except Exception as error:
            if not self._gives_up(item, error):
                raise
            answer = await self._dead_letter(frame, error)
            await self._publish(item, answer, latency_seconds=time.monotonic() - started)

    async def _ask(self, frame: Frame) -> ModelAnswer:
        body = self._parts.hold.get(frame.object_key)
        if body is None:
            self._parts.metrics.lake_reads.labels(self.spec.name).inc()
            body, _ = await self._parts.lake.get(frame.object_key)
        response = await self._parts.asker.ask(
            self.spec.name,
            body,
            AnswerOptions(),
            priority=Priority.PRIORITY_BACKGROUND,
            timeout=_ASK_SECONDS,
            retry_lost=False,  # the frame itself may have ended the server: see `suspected`
        )
        return results.succeeded(self.spec.name, response)

    def _gives_up(self, item: _Reference, error: Exception) -> bool:
        """Note what an error says of the frame; whether it was tried often enough."""
        if isinstance(error, ServerLostError | DeadlineError):
            item.faults += item.suspected  # what happened in company proves nothing
            item.suspected = True
        elif isinstance(error, _PASSING):
            return False
        else:
            item.faults += 1
            if isinstance(error, FramemeshError) and not isinstance(error, InternalError):
                return True  # the model's own word on the frame
        return item.faults >= _MAX_FAULTS

    async def _dead_letter(self, frame: Frame, error: Exception) -> ModelAnswer:
        if not isinstance(error, FramemeshError):
            error = InternalError(f"the gateway failed on this frame: {type(error).__name__}; its log has the whole")
        await self._parts.deadletters.write_answer(
            frame, error, model=self.spec.name, skipped=self._skipped[frame.camera]
        )
        return results.failed(self.spec.name, error)

    async def _publish(self, item: _Reference, answer: ModelAnswer, *, latency_seconds: float) -> None:
        """Publish a result until NATS has it, whatever that takes; then the frame is settled.

        Here and not from the queue: a result that may be out already must not be passed over for a newer frame's.
        """
        skipped = self._skipped.pop(item.frame.camera, 0)
        published = False
        backoff = Backoff(*_RETRY_SECONDS)
        try:
            while self._leases.holds(item.message):
                published = await self._published(item, answer, latency_seconds, skipped)
                if published or self._stopping.is_set():
                    break
                await self._pause(backoff.next_seconds())
        finally:
            if not published:  # the next result has them
                self._skipped[item.frame.camera] += skipped

    async def _published(self, item: _Reference, answer: ModelAnswer, latency_seconds: float, skipped: int) -> bool:
        try:
            since = item.unsure_since
            if since is None or not await self._answered.has(item.frame.frame_id, since=since):
                await self._parts.results.write(
                    item.frame, answer, latency_seconds=latency_seconds, skipped=skipped, shadow=self.spec.shadow
                )
        except BusUnavailableError as error:
            item.unsure_since = time.monotonic()
            log.debug("result.again", model=self.spec.name, frame_id=item.frame.frame_id, error=str(error))
            return False
        await self._settle(item.message)
        return True

    async def _skip(self, passed: list[Waiting[_Reference]]) -> None:
        for waiting in passed:
            self._skipped[waiting.camera] += 1
            self._parts.metrics.count(self.spec.name, "skipped", shadow=self.spec.shadow)
            await self._settle(waiting.item.message)

    async def _settle(self, message: Msg) -> None:
        self._leases.release(message)
        with suppress(nats.errors.Error):  # unacknowledged, it comes again, and is found to be answered
            await message.ack()

    async def _give_back(self, message: Msg) -> None:
        self._leases.release(message)
        with suppress(nats.errors.Error):  # else it comes again after ack_wait
            await message.nak()

    async def _pause(self, seconds: float) -> None:
        await happens(self._stopping, within=seconds)


def reference(body: bytes) -> StoredFrame | None:
    """The reference in a message on `stored.<camera>`; none where it refers to no frame of its camera.

    Every lane gets the same message: it is parsed once. Don't change it.
    """
    return _reference(body) if len(body) <= _MAX_REFERENCE_BYTES else None


@lru_cache(maxsize=_RECENT)
def _reference(body: bytes) -> StoredFrame | None:
    try:
        stored = StoredFrame.FromString(body)
    except DecodeError:
        return None
    frame_id = frame_id_of(stored.frame.object_key)
    named = frame_id is not None and (str(frame_id), frame_id.camera) == (stored.frame.frame_id, stored.frame.camera)
    return stored if named else None
