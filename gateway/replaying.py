"""Models run over the past: stored frames that a caller names get the answers that live ones get.

Live frames come first. A model server takes a replayed frame only where no other waits, and while live frames come a
replay has no more images there at once than its share of the model, so that mostly a worker is free for them.
"""

import asyncio
import math
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog

from framemesh.errors import (
    BusUnavailableError,
    DeadlineError,
    FramemeshError,
    FrameNotFoundError,
    InternalError,
    InvalidRequestError,
    LakeUnavailableError,
    ModelNotFoundError,
    ModelUnavailableError,
    QueueFullError,
    ServerLostError,
)
from framemesh.frames import frame_id_of, timestamp
from framemesh.lake import Lake
from framemesh.service import leaves
from framemesh.v1.answer_pb2 import AnswerOptions, InferenceTiming, ModelAnswer
from framemesh.v1.frame_pb2 import Frame
from framemesh.v1.inference_service_pb2 import InferResponse, Priority
from framemesh.v1.model_pb2 import ModelSpec
from framemesh.v1.replay_service_pb2 import ReplayResponse
from framemesh.waiting import Backoff, happens
from gateway import results
from gateway.asking import Asker
from gateway.deadletters import DeadLetters
from gateway.metrics import GatewayMetrics
from gateway.registry import Registry
from gateway.stored import stored_frame

log = structlog.get_logger()

DEFAULT_SHARE = 0.5
_LEAST_SHARE = 0.01

_ASK_SECONDS = 30.0  # live frames go first, so it may take longer than theirs
_MAX_FAULTS = 3
_RETRY_SECONDS = (0.05, 1.0)
_LOOK_SECONDS = 0.25  # until it is noticed that live frames, or servers, come or go
_MOST_UNDER_WAY, _LEAST_UNDER_WAY = 128, 8  # frames held in memory
_PASSING = (ModelUnavailableError, ModelNotFoundError, QueueFullError, LakeUnavailableError, BusUnavailableError)

_Kept = TypeVar("_Kept")


@dataclass(frozen=True, slots=True)
class ReplayParts:
    """What all replays share.

    Attributes:
        registry: Which models there are.
        asker: Calls their servers.
        lake: Where the frames are.
        results: Where answers go.
        deadletters: Where frames go that a model can't answer.
        metrics: What is counted.
    """

    registry: Registry
    asker: Asker
    lake: Lake
    results: results.Results
    deadletters: DeadLetters
    metrics: GatewayMetrics


class Replayer:
    """Begins replays. Those of one model share what one may take of it."""

    def __init__(self, parts: ReplayParts) -> None:
        self._parts = parts
        self._valves: dict[str, _Valve] = {}

    def begin(self, model: str, *, share: float, again: bool) -> "Replay":
        """A replay that has yet to run.

        Args:
            model: Name of a deployed model.
            share: The most of the model that it may take while live frames come, from 0.01 to 1.
            again: Whether frames answered minutes ago are answered anew.

        Raises:
            ModelNotFoundError: No such model.
            InvalidRequestError: That is no share.
        """
        spec = self._parts.registry.spec(model)
        if not _LEAST_SHARE <= share <= 1:  # with less, one replay's rests would hold up the model's others for ever
            raise InvalidRequestError(f"a share of {share:.3g} can't be: choose {_LEAST_SHARE} to 1", field="share")
        valve = self._valves.setdefault(model, _Valve(self._parts.asker, model))
        return Replay(spec, self._parts, valve, share=share, again=secrets.token_hex(4) if again else "")


class Replay:
    """One replay: the frames under way, and what became of the others."""

    def __init__(self, spec: ModelSpec, parts: ReplayParts, valve: "_Valve", *, share: float, again: str) -> None:
        self._model = spec.name
        self._shadow = spec.shadow
        self._parts = parts
        self._valve = valve
        self._share = share
        self._again = again
        self._counts: Counter[str] = Counter()
        self._waiting_reason = ""
        self._under_way = 0
        self._freed = asyncio.Event()

    def progress(self) -> ReplayResponse:
        """How far it has come."""
        return ReplayResponse(
            succeeded_count=self._counts["succeeded"],
            failed_count=self._counts["failed"],
            gone_count=self._counts["gone"],
            waiting_reason=self._waiting_reason,
        )

    async def run(self, keys: AsyncIterator[str]) -> None:
        """Answer the frames under these keys; ends once each has its result.

        Raises:
            ModelNotFoundError: The model was deleted meanwhile.
        """
        try:
            async with asyncio.TaskGroup() as group:
                async for key in keys:
                    while self._under_way >= self._most_under_way():
                        self._freed.clear()
                        await self._freed.wait()
                    self._under_way += 1
                    group.create_task(self._settle(key))
        except ExceptionGroup as several:  # one that is among them says it all
            raise next(leaves(several)) from None

    def _most_under_way(self) -> int:
        """Enough to read from the lake and to write results while the servers are busy."""
        wanted = 4 * self._parts.asker.images_at_once(self._model, queued=False)
        return min(max(wanted, _LEAST_UNDER_WAY), _MOST_UNDER_WAY)

    async def _settle(self, key: str) -> None:
        try:
            outcome = await self._outcome(key)
        finally:
            self._under_way -= 1
            self._freed.set()
        self._counts[outcome] += 1
        self._parts.metrics.replayed.labels(self._model, outcome).inc()

    async def _outcome(self, key: str) -> str:
        began = time.monotonic()
        frame = _named(key)
        try:
            frame, body = await self._insist(lambda: stored_frame(self._parts.lake, key))
            began = time.monotonic()
            answer = results.succeeded(self._model, await self._ask(body))
            await self._write(frame, answer, began)
        except ModelNotFoundError:
            raise
        except FrameNotFoundError:
            return "gone"
        except FramemeshError as error:  # also that its answer is too large to keep
            answer = await self._give_up(frame, error)
            await self._write(frame, answer, began)
        self._waiting_reason = ""
        return "failed" if answer.HasField("error") else "succeeded"

    async def _write(self, frame: Frame, answer: ModelAnswer, began: float) -> None:
        took = time.monotonic() - began
        await self._insist(
            lambda: self._parts.results.write_replayed(
                frame, answer, latency_seconds=took, shadow=self._shadow, again=self._again
            )
        )

    async def _ask(self, body: bytes) -> InferResponse:
        """The model's answer to an image; a fault is tried again a few times.

        Raises:
            ModelNotFoundError: The model was deleted meanwhile.
            FramemeshError: What the model has against the image.
        """
        ask = self._valve.ask
        for fault in range(1, _MAX_FAULTS + 1):
            try:
                return await self._insist(lambda: ask(body, share=self._share))  # noqa: B023 - it is called here
            except (DeadlineError, InternalError, ServerLostError) as error:
                if fault == _MAX_FAULTS:
                    raise
                if isinstance(error, ServerLostError):  # this image may be the reason, or another beside it
                    ask = self._valve.ask_alone
        raise AssertionError

    async def _give_up(self, frame: Frame, error: FramemeshError) -> ModelAnswer:
        await self._insist(lambda: self._parts.deadletters.write_answer(frame, error, model=self._model, skipped=0))
        return results.failed(self._model, error)

    async def _insist(self, attempt: Callable[[], Awaitable[_Kept]]) -> _Kept:
        """What an attempt gives, once what passes has passed.

        Raises:
            ModelNotFoundError: The model was deleted meanwhile.
            FramemeshError: What doesn't pass.
        """
        backoff = Backoff(*_RETRY_SECONDS)
        while True:
            try:
                return await attempt()
            except ServerLostError:
                raise
            except _PASSING as error:
                self._parts.registry.spec(self._model)  # a server that knows no such model may be another's by now
                self._waiting_reason = str(error)
            except FramemeshError:
                raise
            except Exception as error:
                log.exception("replay.fault", model=self._model)
                raise InternalError("the gateway failed on this frame; its log says why") from error
            await asyncio.sleep(backoff.next_seconds())


class _Valve:
    """How many replayed images one model has at once. All its replays go through it."""

    def __init__(self, asker: Asker, model: str) -> None:
        self._asker = asker
        self._model = model
        self._taken = 0
        self._freed = asyncio.Event()
        self._alone = asyncio.Lock()

    async def ask(self, body: bytes, *, share: float) -> InferResponse:
        """Ask the model once there is room for it.

        Raises:
            FramemeshError: As `Asker.ask` does.
        """
        while self._alone.locked() or self._taken >= self._room(share):
            await self._change()
        return await self._ask(body, share)

    async def ask_alone(self, body: bytes, *, share: float) -> InferResponse:
        """As `ask`, with no other replayed image at the model meanwhile."""
        async with self._alone:
            while self._taken:
                await self._change()
            return await self._ask(body, share)

    async def _change(self) -> None:
        self._freed.clear()
        await happens(self._freed, within=_LOOK_SECONDS)

    async def _ask(self, body: bytes, share: float) -> InferResponse:
        self._taken += 1
        rest_seconds = 0.0
        try:
            response = await self._asker.ask(
                self._model,
                body,
                AnswerOptions(),
                priority=Priority.PRIORITY_REPLAY,
                timeout=_ASK_SECONDS,
                retry_lost=False,
            )
            if self._asker.is_live(self._model):
                rest_seconds = busy_seconds(response.timing) * rest_share(share, self._images())
        except DeadlineError as error:
            if self._asker.is_live(self._model):  # it waited behind live frames: that is not its fault
                raise QueueFullError(str(error), **error.values) from error
            raise
        finally:
            asyncio.get_running_loop().call_later(rest_seconds, self._free)
        return response

    def _room(self, share: float) -> int:
        return at_once(share, self._images()) if self._asker.is_live(self._model) else 2 * self._images()

    def _images(self) -> int:
        return max(1, self._asker.images_at_once(self._model, queued=False))

    def _free(self) -> None:
        self._taken -= 1
        self._freed.set()


def at_once(share: float, images: int) -> int:
    """How many of the images that a model runs at once a share of it amounts to: part of one counts as one."""
    return math.ceil(share * images - 1e-9)


def rest_share(share: float, images: int) -> float:
    """How long to rest for each second of work, where `at_once` is more than the share."""
    return at_once(share, images) / (share * images) - 1


def busy_seconds(timing: InferenceTiming) -> float:
    """How long an image kept a worker of its model server."""
    alone = timing.preprocess_duration.ToNanoseconds() + timing.postprocess_duration.ToNanoseconds()
    return (alone + timing.inference_duration.ToNanoseconds() / max(1, timing.batch_size)) / 1e9


def _named(key: str) -> Frame:
    """What a key says of its frame."""
    frame_id = frame_id_of(key)
    if frame_id is None:
        return Frame(object_key=key)
    return Frame(
        frame_id=str(frame_id),
        camera=frame_id.camera,
        capture_time=timestamp(frame_id.captured_ns),
        object_key=key,
    )
