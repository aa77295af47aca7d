"""The trainings that are wanted and how far they are, followed in NATS's key-value store."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable

import structlog
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from framemesh import trainings
from framemesh.bus import Bus, encoding
from framemesh.bus.connection import reporting
from framemesh.bus.streams import TRAINING_PROGRESS_BUCKET, TRAININGS_BUCKET
from framemesh.bus.watching import Entry, entries, snapshots
from framemesh.datasets.reports import RECIPE
from framemesh.errors import (
    DatasetNotFoundError,
    FrameNotFoundError,
    LakeUnavailableError,
    TrainingNotFoundError,
    TrainingRunsError,
)
from framemesh.frames import timestamp
from framemesh.lake import Lake
from framemesh.names import MAX_MODEL_LENGTH, check_label
from framemesh.v1.model_pb2 import Origin
from framemesh.v1.training_pb2 import Training, TrainingSpec, TrainingStatus
from framemesh.waiting import until_set

log = structlog.get_logger()


class Trainings:
    """Reading is instant, from memory; starting, stopping and deleting write to NATS and show once it has told back.

    Args:
        bus: Where the trainings are.
        datasets: The bucket of datasets, which need not be there.
    """

    name = "trainings"

    def __init__(self, bus: Bus, datasets: Lake) -> None:
        self._bus = bus
        self._datasets = datasets
        self._wanted: dict[str, tuple[TrainingSpec, int]] = {}
        self._statuses: dict[str, TrainingStatus] = {}
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()

    def trainings(self) -> list[Training]:
        """Everything, by name."""
        return [
            Training(spec=spec, generation=generation, status=self._statuses.get(name))
            for name, (spec, generation) in sorted(self._wanted.items())
        ]

    async def changes(self) -> AsyncGenerator[None, None]:
        """Yield at once, and again after each change."""
        while not self._stopping.is_set():
            changed = self._changed
            yield
            await changed.wait()

    async def start(self, spec: TrainingSpec, *, caller: str) -> Training:
        """Record a training as wanted.

        Raises:
            InvalidNameError: Its name is no DNS label.
            InvalidRequestError: It can't be trained so.
            DatasetNotFoundError: There is no such dataset.
            TrainingRunsError: Another of that name runs.
            BusUnavailableError: It can't be recorded now.
            LakeUnavailableError: The dataset can't be looked for now.
        """
        trainings.check(spec)
        await self._check_dataset(spec.dataset)
        wanted = TrainingSpec()
        wanted.CopyFrom(spec)
        wanted.stopped = False
        wanted.origin.CopyFrom(Origin(caller=caller, time=timestamp(time.time_ns()), reason="started"))

        def started(recorded: Training | None) -> TrainingSpec | None:
            if recorded is None or recorded.spec.stopped or trainings.ended(recorded, recorded.generation):
                return wanted
            if _same(recorded.spec, wanted):
                return None
            raise TrainingRunsError(
                f"another training {spec.name!r} runs: wait until it is done, stop it with `framemesh trainings stop "
                f"{spec.name}`, or choose another name",
                training=spec.name,
            )

        return await self._change(spec.name, started)

    async def stop_training(self, name: str) -> Training:
        """Record that a training is not to go on; one that has ended stays as it is.

        Raises:
            InvalidNameError: It is no name.
            TrainingNotFoundError: There is none of that name.
            BusUnavailableError: It can't be recorded now.
        """

        def stopped(recorded: Training | None) -> TrainingSpec | None:
            if recorded is None:
                raise self._unknown(name)
            if recorded.spec.stopped or trainings.ended(recorded, recorded.generation):
                return None
            recorded.spec.stopped = True
            return recorded.spec

        check_label("model", name, max_length=MAX_MODEL_LENGTH)
        return await self._change(name, stopped)

    async def delete(self, name: str) -> None:
        """Record that a training is no longer wanted.

        Raises:
            InvalidNameError: It is no name.
            TrainingNotFoundError: There is none of that name.
            BusUnavailableError: It can't be recorded now.
        """
        check_label("model", name, max_length=MAX_MODEL_LENGTH)
        with reporting(f"training {name!r} can't be deleted now"):
            bucket = await self._bus.js.key_value(TRAININGS_BUCKET)
            if await _get(bucket, name) is None:
                raise self._unknown(name)
            await bucket.delete(name)

    async def run(self) -> None:
        """Follow the buckets until stopped."""
        await until_set(self._stopping, self._follow_wanted(), self._follow_progress())

    def stop(self) -> None:
        """Follow no more."""
        self._stopping.set()
        self._touch()

    async def _change(self, name: str, change: Callable[[Training | None], TrainingSpec | None]) -> Training:
        """Record what a change makes of what is recorded of a training; nothing where it makes none."""
        with reporting(f"training {name!r} can't be changed now"):
            bucket = await self._bus.js.key_value(TRAININGS_BUCKET)
            progress = await self._bus.js.key_value(TRAINING_PROGRESS_BUCKET)
            while True:
                entry, told = await _get(bucket, name), await _get(progress, name)
                spec = None if entry is None else _load_spec(name, entry.value)
                recorded = None
                if entry is not None and spec is not None:
                    status = None if told is None else encoding.load(told.value, TrainingStatus())
                    recorded = Training(spec=spec, generation=entry.revision, status=status)
                changed = change(recorded)
                if changed is None:
                    assert recorded is not None  # noqa: S101 - what isn't there is not left as it is
                    return recorded
                try:
                    if entry is None:
                        generation = await bucket.create(name, encoding.dump(changed))
                    else:
                        generation = await bucket.update(name, encoding.dump(changed), last=entry.revision)
                except KeyWrongLastSequenceError:  # somebody else was quicker
                    continue
                return Training(spec=changed, generation=generation)

    async def _check_dataset(self, dataset: str) -> None:
        try:
            await self._datasets.get(f"{trainings.dataset_key(dataset)}/{RECIPE}")
        except (FrameNotFoundError, LakeUnavailableError) as error:
            if isinstance(error, LakeUnavailableError) and error.values.get("code") != "NoSuchBucket":
                raise
            raise DatasetNotFoundError(
                f"there is no dataset {dataset}: make one with `framemesh dataset export {dataset}`", dataset=dataset
            ) from error

    async def _follow_wanted(self) -> None:
        async for content in entries(self._bus, TRAININGS_BUCKET):
            found = {
                name: (spec, entry.revision)
                for name, entry in content.items()
                if (spec := _load_spec(name, entry.value)) is not None
            }
            if found != self._wanted:
                self._wanted = found
                self._touch()

    async def _follow_progress(self) -> None:
        async for content in snapshots(self._bus, TRAINING_PROGRESS_BUCKET):
            found = {
                name: status
                for name, value in content.items()
                if (status := encoding.load(value, TrainingStatus())) is not None
            }
            if found != self._statuses:
                self._statuses = found
                self._touch()

    def _touch(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _unknown(self, name: str) -> TrainingNotFoundError:
        known = ", ".join(sorted(self._wanted)) or "none"
        return TrainingNotFoundError(f"no training {name!r}; there are: {known}", training=name, trainings=known)


async def _get(bucket: KeyValue, name: str) -> Entry | None:
    try:
        entry = await bucket.get(name)
    except KeyNotFoundError:  # or deleted
        return None
    return Entry(entry.value or b"", entry.revision or 0)


def _load_spec(name: str, value: bytes) -> TrainingSpec | None:
    spec = encoding.load(value, TrainingSpec())
    if spec is None or spec.name != name:
        log.warning("training.unreadable", training=name)  # written by hand
        return None
    return spec


def _same(some: TrainingSpec, other: TrainingSpec) -> bool:
    """Whether two are the same training, whoever wanted them."""
    alike = TrainingSpec()
    alike.CopyFrom(some)
    alike.origin.CopyFrom(other.origin)
    return alike == other
