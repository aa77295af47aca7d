"""The streams and key-value buckets that the parts share. The gateway makes them; `ensure` says it all."""

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import structlog
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    KeyValueConfig,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import APIError, NotFoundError

from framemesh.bus.connection import Bus
from framemesh.errors import ConfigurationError
from framemesh.limits import MAX_IMAGE_BYTES

log = structlog.get_logger()

FRAMES = "FRAMES"
STORED = "STORED"
RESULTS = "RESULTS"
SHADOWS = "SHADOWS"
DEADLETTERS = "DEADLETTERS"
EVENTS = "EVENTS"
CORRECTIONS = "CORRECTIONS"
KEPT = (STORED, RESULTS, SHADOWS, DEADLETTERS, EVENTS, CORRECTIONS)
"""The streams whose oldest messages go when they are full; `FRAMES` refuses new ones."""
MODELS_BUCKET = "models"
ROUTES_BUCKET = "routes"
DEPLOYMENTS_BUCKET = "deployments"
TRAININGS_BUCKET = "trainings"
TRAINING_PROGRESS_BUCKET = "training-progress"
ARCHIVE_BUCKET = "archive"
CAMERAS_BUCKET = "cameras"

STORE_CONSUMER = "store"

MAX_PAYLOAD_BYTES = MAX_IMAGE_BYTES
"""`max_payload` of our server configuration; NATS recommends no more than 8 MiB."""
LEAST_STREAM_BYTES = 2 * MAX_PAYLOAD_BYTES
USUAL_BYTES_A_SECOND = 9_000_000
"""Three cameras, 30 frames a second, 100 KB: what the length of an outage is told for."""
_NO_ROOM = {10002, 10047}  # JSAccountResourcesExceededErr, JSStorageResourcesExceededErr
_DEAD_LETTER_SLACK = 16 * 1024
"""A frame must fit into its dead letter, which carries more words."""

_DAY = 86_400.0
ACK_WAIT_SECONDS = 10.0
_DUPLICATE_SECONDS = 600.0
_EVENTS_BYTES = 16 * 1024 * 1024
"""What happens to cameras: some 50,000 events."""
_CORRECTIONS_BYTES = 64 * 1024 * 1024
"""What people say of frames: some 200,000 corrections; the lake has the older ones."""
_FOR_EVER = 0.0
_CAMERA_SECONDS = 60.0
"""How long the word of an agent that was killed stays."""


@dataclass(frozen=True, slots=True)
class StreamSizes:
    """How much disk each stream may hold, in bytes, and for how long what is no longer needed stays.

    Attributes:
        keep_days: For everything but frames.
        replicas: How many servers hold each stream.
        flexible: Those of the sizes that nobody chose: where NATS has not the room, they are made smaller.
    """

    frames_bytes: int
    stored_bytes: int
    results_bytes: int
    deadletters_bytes: int
    keep_days: float
    replicas: int
    flexible: frozenset[str] = frozenset()

    def total_bytes(self) -> int:
        """What all streams may hold together."""
        return (
            self.frames_bytes
            + self.stored_bytes
            + self.results_bytes
            + self.shadows_bytes
            + self.deadletters_bytes
            + _EVENTS_BYTES
            + _CORRECTIONS_BYTES
        )

    @property
    def shadows_bytes(self) -> int:
        """For what shadows say, who are few and there for a while."""
        return max(LEAST_STREAM_BYTES, self.results_bytes // 4)

    def halved(self) -> "StreamSizes":
        """The same with each flexible size halved, down to the least that is of use."""
        smaller: dict[str, Any] = {name: max(LEAST_STREAM_BYTES, getattr(self, name) // 2) for name in self.flexible}
        return replace(self, **smaller)


async def ensure(bus: Bus, sizes: StreamSizes) -> None:
    """Make the streams, their first consumer and the buckets, or bring them to these sizes. Idempotent.

    `FRAMES` has no age limit: a limit would drop unread frames in silence. It is a work queue that refuses new
    frames when full, and one that becomes smaller keeps what it holds.

    Raises:
        ConfigurationError: The server can't hold that much, or has no JetStream.
    """
    while True:
        try:
            await _ensure(bus, sizes)
        except APIError as error:
            smaller = sizes.halved()
            if error.err_code in _NO_ROOM and smaller != sizes:
                sizes = smaller
                continue
            raise ConfigurationError(
                f"NATS can't hold framemesh's streams: {error.description}; it needs JetStream with file storage and "
                f"{sizes.total_bytes():,} bytes",
            ) from error
        break
    log.info(
        "streams.sized",
        frames_bytes=sizes.frames_bytes,
        total_bytes=sizes.total_bytes(),
        outage_seconds_at_9_mb_a_second=sizes.frames_bytes // USUAL_BYTES_A_SECOND,
    )


async def _ensure(bus: Bus, sizes: StreamSizes) -> None:
    wanted = (
        StreamConfig(
            name=FRAMES,
            subjects=["frames.*"],
            retention=RetentionPolicy.WORK_QUEUE,
            discard=DiscardPolicy.NEW,
            max_bytes=sizes.frames_bytes,
            max_msg_size=MAX_PAYLOAD_BYTES - _DEAD_LETTER_SLACK,
        ),
        _kept(STORED, "stored.*", sizes.stored_bytes, sizes.keep_days),
        _kept(RESULTS, "results.*.*", sizes.results_bytes, sizes.keep_days),
        _kept(SHADOWS, "shadows.*.*", sizes.shadows_bytes, sizes.keep_days),
        _kept(DEADLETTERS, "deadletters.>", sizes.deadletters_bytes, sizes.keep_days),
        _kept(EVENTS, "events.cameras.*", _EVENTS_BYTES, sizes.keep_days),
        _kept(CORRECTIONS, "corrections.*.*.*", _CORRECTIONS_BYTES, _FOR_EVER),
    )
    for config in wanted:
        await _ensure_stream(bus.js, config, sizes.replicas)
    await bus.js.add_consumer(
        FRAMES,
        ConsumerConfig(
            durable_name=STORE_CONSUMER,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ACK_WAIT_SECONDS,
            max_ack_pending=256,
            max_deliver=-1,
        ),
    )
    for bucket, history, ttl in (
        (MODELS_BUCKET, 8, None),
        (ROUTES_BUCKET, 1, None),
        (DEPLOYMENTS_BUCKET, 1, None),
        (TRAININGS_BUCKET, 1, None),
        (TRAINING_PROGRESS_BUCKET, 1, None),
        (ARCHIVE_BUCKET, 1, None),
        (CAMERAS_BUCKET, 1, _CAMERA_SECONDS),
    ):
        await bus.js.create_key_value(
            KeyValueConfig(bucket=bucket, history=history, ttl=ttl, storage=StorageType.FILE, replicas=sizes.replicas)
        )


async def ensure_model_consumer(
    bus: Bus, model: str, cameras: list[str], *, max_ack_pending: int, start: datetime | None = None
) -> str:
    """Make, or change, the durable consumer through which a model reads references, and return its name.

    A model that is new starts with the frames stored since `start`, or at now; one that has begun goes on.
    """
    name = model_consumer(model)
    try:
        begun = (await bus.js.consumer_info(STORED, name)).config
    except NotFoundError:
        policy = DeliverPolicy.NEW if start is None else DeliverPolicy.BY_START_TIME
        begun = ConsumerConfig(deliver_policy=policy, opt_start_time=start)
    await bus.js.add_consumer(
        STORED,
        ConsumerConfig(
            durable_name=name,
            deliver_policy=begun.deliver_policy,  # NATS refuses to change where a consumer began
            opt_start_time=begun.opt_start_time,
            filter_subjects=[f"stored.{camera}" for camera in cameras] or ["stored.*"],
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ACK_WAIT_SECONDS,
            max_ack_pending=max_ack_pending,
            max_deliver=-1,
        ),
    )
    return name


def results_stream(*, shadow: bool) -> str:
    """Name of the stream of a model's results: those of shadows are kept apart, as nobody is to take them for answers.

    Its subjects are `<stream in small letters>.<model>.<camera>`.
    """
    return SHADOWS if shadow else RESULTS


def result_subject(model: str, camera: str, *, shadow: bool) -> str:
    """Where a model's results of a camera go; `*` for any."""
    return f"{results_stream(shadow=shadow).lower()}.{model}.{camera}"


async def delete_model_consumer(bus: Bus, model: str) -> None:
    """Forget how far a model has read; a model without a consumer is fine."""
    with suppress(NotFoundError):
        await bus.js.delete_consumer(STORED, model_consumer(model))


def model_consumer(model: str) -> str:
    """Name of the durable consumer on `STORED` that belongs to a model."""
    return f"model-{model}"


def _kept(name: str, subject: str, max_bytes: int, keep_days: float) -> StreamConfig:
    """A stream that anybody may read for some days; when full, its oldest go first."""
    return StreamConfig(
        name=name,
        subjects=[subject],
        retention=RetentionPolicy.LIMITS,
        discard=DiscardPolicy.OLD,
        max_bytes=max_bytes,
        max_age=keep_days * _DAY,
    )


async def _ensure_stream(js: JetStreamContext, config: StreamConfig, replicas: int) -> None:
    config = replace(config, storage=StorageType.FILE, num_replicas=replicas, duplicate_window=_DUPLICATE_SECONDS)
    try:
        await js.stream_info(str(config.name))
    except NotFoundError:
        await js.add_stream(config)
    else:
        await js.update_stream(config)
