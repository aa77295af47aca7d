"""Streams to archive, and the tables as they lie in the lake: file by file, nothing left out or made one."""

from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr

from archiver.settings import ArchiverSettings
from framemesh.bus import Bus
from framemesh.frames import NANOSECONDS, FrameId, object_key, timestamp
from framemesh.lake import Lake
from framemesh.tables import FRAMES, RESULTS, Table
from framemesh.v1.answer_pb2 import Answer, AnswerState, Classification, Label, ModelAnswer
from framemesh.v1.frame_pb2 import Frame, StoredFrame
from framemesh.v1.result_pb2 import Result

HOUR_NS = 3600 * NANOSECONDS
START_NS = 1_790_000_000 * NANOSECONDS  # 2026-09-21T14:13:20Z


@pytest.fixture(scope="module")
def settings(nats: str, s3: dict[str, str]) -> ArchiverSettings:
    return ArchiverSettings(
        nats_url=SecretStr(nats),
        s3_endpoint=s3["FRAMEMESH_S3_ENDPOINT"],
        s3_access_key=SecretStr(s3["FRAMEMESH_S3_ACCESS_KEY"]),
        s3_secret_key=SecretStr(s3["FRAMEMESH_S3_SECRET_KEY"]),
        archive_seconds=0.05,
        drain_seconds=10,
    )


@pytest.fixture
async def lakes(settings: ArchiverSettings) -> AsyncIterator[dict[str, Lake]]:
    """Each table's bucket."""
    async with (
        Lake.from_settings(settings, bucket=FRAMES.bucket) as frames,
        Lake.from_settings(settings, bucket=RESULTS.bucket) as results,
    ):
        yield {FRAMES.name: frames, RESULTS.name: results}


def frame(camera: str, number: int) -> Frame:
    """One of the frames of three hours."""
    frame_id = FrameId(camera, START_NS + number % 3 * HOUR_NS + number)
    return Frame(
        frame_id=str(frame_id),
        camera=camera,
        capture_time=timestamp(frame_id.captured_ns),
        size_bytes=100_000 + number,
        width_px=1280,
        height_px=720,
        content_type="image/jpeg",
        object_key=object_key(frame_id, "image/jpeg"),
    )


async def store(bus: Bus, camera: str, number: int) -> str:
    """Refer to a frame as the gateway does."""
    stored = StoredFrame(frame=frame(camera, number), store_time=timestamp(START_NS + number))
    await bus.publish(f"stored.{camera}", stored.SerializeToString(), {}, timeout=30)
    return stored.frame.frame_id


async def answer(bus: Bus, model: str, camera: str, number: int, *, label: str = "cat", score: float = 0.5) -> str:
    """Answer a frame as the gateway does."""
    said = Answer(classification=Classification(labels=[Label(name=label, score=score), Label(name="dog", score=0.1)]))
    result = Result(
        frame=frame(camera, number),
        answer=ModelAnswer(model=model, state=AnswerState.ANSWER_STATE_SUCCEEDED, model_version="v1", answer=said),
        answer_time=timestamp(START_NS + number * 1000),
    )
    await bus.publish(f"results.{model}.{camera}", result.SerializeToString(), {}, timeout=30)
    return result.frame.frame_id


async def files(lake: Lake) -> dict[str, list[dict[str, Any]]]:
    """The rows of each file."""
    found = {}
    for key in await lake.keys(""):
        body, _ = await lake.get(key)
        found[key] = pq.read_table(BytesIO(body)).to_pylist()
    return found


async def rows(lakes: dict[str, Lake], table: Table) -> list[dict[str, Any]]:
    """Every row of a table, those twice that are there twice."""
    return [row for several in (await files(lakes[table.name])).values() for row in several]
