"""A lake as a mesh leaves it: frames in their bucket, and the rows that the archiver writes."""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from dataclasses import fields as fields_of
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from archiver import files
from archiver.rows import Partition, Row
from framemesh.datasets.recipes import Choice, Recipe
from framemesh.frames import NANOSECONDS, FrameId, object_key
from framemesh.lake import Lake
from framemesh.query import LakePlace
from framemesh.tables import CORRECTIONS, FRAMES, RESULTS, Table
from tests.pictures import jpeg

NOON = datetime(2025, 3, 10, 12, tzinfo=UTC)
LATER = NOON + timedelta(days=1)
AS_OF = LATER + timedelta(minutes=1)
WIDTH_PX, HEIGHT_PX = 64, 48
MINUTES, EVERY_SECONDS = 10, 10
COUNT = 2 * MINUTES * 60 // EVERY_SECONDS
BOX = {"x_min_px": 4.0, "y_min_px": 8.0, "x_max_px": 20.0, "y_max_px": 24.5}


@dataclass
class MadeLake:
    """Puts frames, answers and corrections into a lake; `write` makes them seen."""

    place: LakePlace
    frames: Lake
    tables: dict[str, Lake]
    _rows: dict[str, dict[Partition, list[Row]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    _written: int = 0

    async def frame(self, camera: str, seconds: float, *, color: int = 0, stored: datetime = LATER) -> str:
        """A frame taken so many seconds after noon; its id."""
        taken = NOON + timedelta(seconds=seconds)
        frame_id = FrameId(camera, round(taken.timestamp() * 1e6) * 1000)
        body = jpeg(color, (WIDTH_PX, HEIGHT_PX))
        key = object_key(frame_id, "image/jpeg")
        await self.frames.put(key, body, content_type="image/jpeg", metadata={})
        row = {
            "frame_id": str(frame_id),
            "capture_time": taken,
            "store_time": stored,
            "width_px": WIDTH_PX,
            "height_px": HEIGHT_PX,
            "size_bytes": len(body),
            "content_type": "image/jpeg",
            "object_key": key,
        }
        self._add(FRAMES, camera, frame_id, row)
        return str(frame_id)

    def answer(
        self,
        model: str,
        frame: str,
        label: str | None,
        score: float = 0.9,
        *,
        box: dict[str, float] | None = None,
        at: datetime = LATER,
    ) -> None:
        """A model's answer, with a box where it is given; nothing was seen where the label is none."""
        frame_id = FrameId.parse(frame)
        assert frame_id is not None
        seen = [] if label is None else [{"name": label, "score": score, **(box or {})}]
        row = {
            "camera": frame_id.camera,
            "frame_id": frame,
            "capture_time": _time(frame_id),
            "answer_time": at,
            "state": "succeeded",
            "label": label,
            "score": None if label is None else score,
            "labels": seen,
            "model_version": "v1",
        }
        self._add(RESULTS, model, frame_id, row)

    def correct(
        self,
        frame: str,
        label: str | None,
        *,
        objects: Iterable[dict[str, Any]] = (),
        at: datetime = LATER,
        removed: bool = False,
    ) -> None:
        """What a person says: a class, or objects."""
        frame_id = FrameId.parse(frame)
        assert frame_id is not None
        row = {
            "frame_id": frame,
            "task": "object-detection" if label is None else "image-classification",
            "capture_time": _time(frame_id),
            "correct_time": at,
            "label": label,
            "objects": list(objects),
            "author": "ann",
            "removed": removed,
        }
        self._add(CORRECTIONS, frame_id.camera, frame_id, row)

    async def write(self) -> None:
        """Write the rows since the last time."""
        for table in (FRAMES, RESULTS, CORRECTIONS):
            for partition, rows in self._rows.pop(table.name, {}).items():
                self._written += 1
                key = f"{partition.prefix(table.partitions)}{self._written:06}.parquet"
                body = files.write(rows, table.columns)
                await self.tables[table.name].put(key, body, content_type=files.CONTENT_TYPE, metadata={})

    async def forget(self, camera: str, *, rows: bool = True) -> None:
        """As retention does: the frames of a camera go, then their rows."""
        await self.frames.delete(*await self.frames.keys(f"{camera}/"))
        if rows:
            bucket = self.tables[FRAMES.name]
            await bucket.delete(*await bucket.keys(f"camera={camera}/"))

    def _add(self, table: Table, owner: str, frame_id: FrameId, row: Row) -> None:
        taken = datetime.fromtimestamp(frame_id.captured_ns // NANOSECONDS, UTC)
        self._rows[table.name][Partition(owner, taken.date(), taken.hour)].append(row)


@pytest.fixture(scope="module")
async def made(s3: dict[str, str]) -> AsyncIterator[MadeLake]:
    place = LakePlace.from_environment(s3 | {"FRAMEMESH_S3_FRAMES_BUCKET": "photos"})

    def bucket(name: str) -> Lake:
        return Lake(
            place.endpoint, access_key=place.access_key, secret_key=place.secret_key, region=place.region, bucket=name,
            requests=16,
        )  # fmt: skip

    async with bucket(place.frames_bucket) as frames:
        tables = {table.name: await bucket(table.bucket).__aenter__() for table in (FRAMES, RESULTS, CORRECTIONS)}
        yield MadeLake(place, frames, tables)


@pytest.fixture(scope="module")
async def lake(made: MadeLake) -> MadeLake:
    """Two cameras for ten minutes, a frame every ten seconds; what models say of them, and people of a few."""
    for camera in ("gate", "test"):
        for number in range(COUNT // 2):
            frame = await made.frame(camera, number * EVERY_SECONDS, color=number + 1000 * (camera == "test"))
            made.answer("vit", frame, ("cat", "dog", "fox")[number % 3], 0.5 + number % 10 / 20)
            made.answer("detr", frame, "car" if number % 2 else None, 0.75, box=BOX)
            if number % 30 == 0:
                made.correct(frame, "wolf")
                made.correct(frame, None, objects=[{"name": "van", **BOX}])
    await made.write()
    return made


def recipe(**fields: Any) -> Recipe:
    """A recipe of corrected answers of `vit`, but for these fields; `only` is for the labels of its choice."""
    choose: dict[str, Any] = {"model": "vit"} | {name: fields.pop(name) for name in _CHOICE if name in fields}
    if "only" in fields:
        choose["labels"] = fields.pop("only")
    own: dict[str, Any] = {"as_of": AS_OF, "labels": "corrected"} | fields
    return Recipe(choose=Choice(**choose), **own)


_CHOICE = {field.name for field in fields_of(Choice)} - {"labels"}


def _time(frame_id: FrameId) -> datetime:
    return datetime.fromtimestamp(frame_id.captured_ns / 1e9, UTC)
