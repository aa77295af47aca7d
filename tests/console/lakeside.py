"""What the tests of the lake's pages need beside the mesh: photos that were taken, and what models said of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

from google.protobuf.duration_pb2 import Duration
from PIL import Image
from pydantic import SecretStr

from archiver.app import archiver
from archiver.settings import ArchiverSettings
from framemesh.frames import NANOSECONDS, FrameId, headers, object_key, subject, timestamp
from framemesh.v1.answer_pb2 import (
    Answer,
    AnswerState,
    Box,
    Classification,
    DetectedObject,
    Detection,
    InferenceTiming,
    Label,
    ModelAnswer,
)
from framemesh.v1.frame_pb2 import Frame
from framemesh.v1.result_pb2 import Result
from tests.console.conftest import Mesh
from tests.gateway.conftest import until

SIZE_PX = (640, 360)
START_NS = int(datetime(2026, 9, 21, 14, tzinfo=UTC).timestamp()) * NANOSECONDS


def photo(path: Path) -> bytes:
    """A photo as a camera sends it."""
    with Image.open(path) as image:
        out = BytesIO()
        image.convert("RGB").resize(SIZE_PX).save(out, "JPEG", quality=85)
        return out.getvalue()


def frame_id(camera: str, number: int) -> FrameId:
    """Of the number-th frame of a camera, one a second from `START_NS` on."""
    return FrameId(camera, START_NS + number * NANOSECONDS)


async def take(mesh: Mesh, camera: str, number: int, jpeg: bytes) -> FrameId:
    """Have a camera take a photo."""
    taken = frame_id(camera, number)
    said = headers(taken, content_type="image/jpeg", width_px=SIZE_PX[0], height_px=SIZE_PX[1], sequence=number)
    await mesh.bus.publish(subject(camera), jpeg, said, timeout=30)
    return taken


def seen(*labels: tuple[str, float]) -> Answer:
    """Classes."""
    return Answer(classification=Classification(labels=[Label(name=name, score=score) for name, score in labels]))


def boxed(*objects: tuple[str, float, tuple[float, float, float, float]]) -> Answer:
    """Objects with their boxes in pixels."""
    edges = ("x_min_px", "y_min_px", "x_max_px", "y_max_px")
    return Answer(
        detection=Detection(
            objects=[
                DetectedObject(label=Label(name=name, score=score), box=Box(**dict(zip(edges, box, strict=True))))
                for name, score, box in objects
            ]
        )
    )


async def say(mesh: Mesh, model: str, taken: FrameId, answer: Answer, *, milliseconds: int = 20) -> None:
    """Have a model answer a frame, as the gateway would write it down."""
    spent = Duration(nanos=milliseconds * 1_000_000)
    result = Result(
        frame=Frame(
            frame_id=str(taken),
            camera=taken.camera,
            capture_time=timestamp(taken.captured_ns),
            width_px=SIZE_PX[0],
            height_px=SIZE_PX[1],
            content_type="image/jpeg",
            object_key=object_key(taken, "image/jpeg"),
        ),
        answer=ModelAnswer(
            model=model,
            model_version="4f1c2ab",
            state=AnswerState.ANSWER_STATE_SUCCEEDED,
            answer=answer,
            timing=InferenceTiming(inference_duration=spent, batch_size=1),
        ),
        answer_time=timestamp(taken.captured_ns + 2 * milliseconds * 1_000_000),
        latency=spent,
    )
    await mesh.bus.publish(f"results.{model}.{taken.camera}", result.SerializeToString(), {}, timeout=30)


@asynccontextmanager
async def archiving(mesh: Mesh) -> AsyncIterator[None]:
    """An archiver of the mesh around the block."""
    settings = ArchiverSettings(
        nats_url=SecretStr(mesh.variables["FRAMEMESH_NATS_URL"]),
        s3_endpoint=mesh.variables["FRAMEMESH_S3_ENDPOINT"],
        s3_access_key=SecretStr(mesh.variables["FRAMEMESH_S3_ACCESS_KEY"]),
        s3_secret_key=SecretStr(mesh.variables["FRAMEMESH_S3_SECRET_KEY"]),
        s3_frames_bucket=mesh.variables["FRAMEMESH_S3_FRAMES_BUCKET"],
        archive_seconds=0.2,
        drain_seconds=10,
    )
    async with archiver(settings):
        yield


async def archived(mesh: Mesh) -> None:
    """Wait until the tables have all that the streams have."""

    async def caught_up() -> bool:
        tables = await mesh.client.archive_progress()
        return all(table.archived_sequence >= table.newest_sequence for table in tables)

    await until(caught_up, seconds=60)
