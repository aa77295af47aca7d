"""What a run amounted to, counted from the stores themselves: stream states, references, the bucket, results."""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import quantiles
from typing import TypeVar

from google.protobuf.message import DecodeError, Message
from nats.js.api import ConsumerInfo
from nats.js.errors import NotFoundError

from framemesh.bus import Bus, streams
from framemesh.bus.reading import between
from framemesh.bus.states import unfinished
from framemesh.frames import FrameId, frame_id_of, hour_prefix
from framemesh.lake import Lake
from framemesh.v1.answer_pb2 import AnswerState
from framemesh.v1.frame_pb2 import StoredFrame
from framemesh.v1.model_pb2 import ModelSpec
from framemesh.v1.result_pb2 import DeadLetter, Result

_Kind = TypeVar("_Kind", bound=Message)

_STREAMS = (streams.FRAMES, streams.STORED, streams.RESULTS, streams.SHADOWS, streams.DEADLETTERS)
_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Position:
    """How far each stream had come, and how many frames waited in `FRAMES`."""

    last: dict[str, int]
    waiting: int


@dataclass(slots=True)
class _ModelCount:
    succeeded: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    messages: int = 0
    retries: set[tuple[str, int]] = field(default_factory=set)
    latencies: list[float] = field(default_factory=list)
    ages: list[float] = field(default_factory=list)


async def position(bus: Bus) -> Position:
    """Where the streams are now; one that isn't made yet is at 0."""
    last: dict[str, int] = {}
    waiting = 0
    for stream in _STREAMS:
        try:
            state = (await bus.js.stream_info(stream)).state
        except NotFoundError:
            last[stream] = 0
            continue
        last[stream] = state.last_seq
        if stream == streams.FRAMES:
            waiting = state.messages
    return Position(last, waiting)


async def count(bus: Bus, lake: Lake, start: Position, specs: list[ModelSpec], *, seconds: float) -> dict[str, object]:
    """The report of what happened since `start`.

    `published` is what `FRAMES` accepted, with what waited in it at the start; `stored` the frames that have both a
    reference and an object; `lost` what is neither stored nor dead-lettered nor still waiting; `duplicates` references
    and objects over one for each frame. A refused message that was retried counts twice: once refused, and once again.
    `shadows` is as `models`, of those that run as shadows at the end.
    """
    end = await position(bus)
    references, stored_times = await _references(bus, start, end)
    keys = await _keys(lake, references)
    stored = {frame_id for frame_id in references if frame_id in keys}
    models = await _models(bus, start, end)
    refused = await _refused(bus, start, end, {number for model in models.values() for _, number in model.retries})
    published = start.waiting + end.last[streams.FRAMES] - start.last[streams.FRAMES]
    repeats = sum(references.values()) - len(references) + sum(keys.values()) - len(keys)
    return {
        "seconds": round(seconds, 3),
        "frames": {
            "published": published,
            "stored": len(stored),
            "lost": published - len(stored) - refused - end.waiting,
            "duplicates": repeats,
            "dead_lettered": refused,
            "waiting": end.waiting,
        },
        "cameras": _by_camera(stored),
        **{
            kind: {
                spec.name: await _model(bus, spec, models.get(spec.name, _ModelCount()), stored_times)
                for spec in specs
                if spec.shadow == shadow
            }
            for kind, shadow in (("models", False), ("shadows", True))
        },
    }


async def _references(bus: Bus, start: Position, end: Position) -> tuple[Counter[str], dict[str, datetime]]:
    """How often each frame was referred to, and when it was first stored."""
    found: Counter[str] = Counter()
    times: dict[str, datetime] = {}
    async for stored in _between(bus, streams.STORED, StoredFrame, start, end):
        found[stored.frame.frame_id] += 1
        times.setdefault(stored.frame.frame_id, stored.store_time.ToDatetime(UTC))
    return found, times


async def _keys(lake: Lake, references: Counter[str]) -> Counter[str]:
    """How many objects the bucket has for each of these frames."""
    prefixes = {hour_prefix(frame_id) for text in references if (frame_id := FrameId.parse(text))}
    found: Counter[str] = Counter()
    for prefix in sorted(prefixes):
        for key in await lake.keys(prefix):
            if (frame_id := frame_id_of(key)) and str(frame_id) in references:
                found[str(frame_id)] += 1
    return found


async def _refused(bus: Bus, start: Position, end: Position, retried: set[int]) -> int:
    """Messages that were dead-lettered before any model saw them, with those whose letters are gone by a retry.

    `retried` are the numbers of letters about models' failures that a newer result has replaced.
    """
    first, last = start.last[streams.DEADLETTERS] + 1, end.last[streams.DEADLETTERS]
    others = {number for number in retried if first <= number <= last}
    async for message in between(bus, streams.DEADLETTERS, first, last):
        try:
            refused = not DeadLetter.FromString(message.data).model
        except DecodeError:
            refused = False  # somebody else wrote it
        if not refused:
            others.add(message.metadata.sequence.stream)
    return last + 1 - first - len(others)


async def _models(bus: Bus, start: Position, end: Position) -> dict[str, _ModelCount]:
    """What each model said, also while it was a shadow: it answered those frames, and won't again."""
    counts: dict[str, _ModelCount] = defaultdict(_ModelCount)
    async for result in _results(bus, start, end):
        model = counts[result.answer.model]
        if not result.replayed or result.frame.frame_id not in model.succeeded | model.failed:
            model.messages += 1  # a replay answers again where it is told to
        if result.retried_dead_letter:
            model.retries.add((result.frame.frame_id, result.retried_dead_letter))
        if result.answer.state == AnswerState.ANSWER_STATE_SUCCEEDED:
            model.succeeded.add(result.frame.frame_id)
            if result.replayed or result.retried_dead_letter:  # a frame of the past: its age is no model's doing
                continue
            model.latencies.append(result.latency.ToNanoseconds() / 1e9)
            model.ages.append((result.answer_time.ToNanoseconds() - result.frame.capture_time.ToNanoseconds()) / 1e9)
        else:
            model.failed.add(result.frame.frame_id)
    return counts


async def _results(bus: Bus, start: Position, end: Position) -> AsyncIterator[Result]:
    for stream in (streams.SHADOWS, streams.RESULTS):
        async for result in _between(bus, stream, Result, start, end):
            yield result


async def _model(bus: Bus, spec: ModelSpec, counted: _ModelCount, stored: dict[str, datetime]) -> dict[str, object]:
    """One model's part: what it did of the frames that were stored for it since it was there."""
    try:
        consumer = await bus.js.consumer_info(streams.STORED, streams.model_consumer(spec.name))
    except NotFoundError:
        mine, waiting = set(), 0
    else:
        mine = _meant_for(spec, consumer, stored)
        waiting = unfinished(consumer)
    answered = counted.succeeded | counted.failed
    left = len(mine - answered) - waiting
    every = spec.policy.HasField("every")
    return {
        "analysed": len(counted.succeeded),
        "skipped": 0 if every else left,
        "failed": len(counted.failed - counted.succeeded),
        "missing": left if every else 0,
        "waiting": waiting,
        "duplicates": counted.messages - len(answered) - len(counted.retries),
        "latency_seconds": _percentiles(counted.latencies),
        "staleness_seconds": _percentiles(counted.ages),
    }


def _meant_for(spec: ModelSpec, consumer: ConsumerInfo, stored: dict[str, datetime]) -> set[str]:
    since = consumer.config.opt_start_time or consumer.created or _EPOCH
    cameras = set(spec.cameras)
    return {
        text
        for text, stored_at in stored.items()
        if stored_at >= since and (not cameras or ((frame_id := FrameId.parse(text)) and frame_id.camera in cameras))
    }


def _by_camera(stored: set[str]) -> dict[str, dict[str, int]]:
    counts = Counter(frame_id.camera for text in stored if (frame_id := FrameId.parse(text)))
    return {camera: {"stored": number} for camera, number in sorted(counts.items())}


def _percentiles(values: list[float]) -> dict[str, float | None]:
    """Median and 99th percentile, in seconds; none of nothing."""
    if len(values) < 2:
        only = round(values[0], 4) if values else None
        return {"p50": only, "p99": only}
    cuts = quantiles(values, n=100, method="inclusive")
    return {"p50": round(cuts[49], 4), "p99": round(cuts[98], 4)}


async def _between(bus: Bus, stream: str, kind: type[_Kind], start: Position, end: Position) -> AsyncIterator[_Kind]:
    """A stream's messages after `start`, up to `end`; what somebody else wrote there is passed over."""
    async for message in between(bus, stream, start.last[stream] + 1, end.last[stream]):
        with suppress(DecodeError):
            yield kind.FromString(message.data)
