"""Cameras and answers of a test's own, on the real bus."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from io import BytesIO

import numpy as np
from PIL import Image, ImageOps
from skimage import data

from framemesh.bus import Bus
from framemesh.frames import FrameId, headers, object_key, subject, timestamp
from framemesh.v1.answer_pb2 import (
    Answer,
    AnswerState,
    Box,
    Depth,
    DetectedObject,
    Detection,
    Keypoint,
    KeypointInstance,
    Keypoints,
    Label,
    Mask,
    ModelAnswer,
    Segment,
    Segmentation,
    Text,
)
from framemesh.v1.frame_pb2 import Frame
from framemesh.v1.result_pb2 import Result
from framemesh.waiting import cancelled
from model_server.tasks import png
from tests.gateway.conftest import publish

WIDTH, HEIGHT = 640, 360


def plain(shade: int = 128) -> bytes:
    """A frame of one grey."""
    out = BytesIO()
    Image.new("RGB", (WIDTH, HEIGHT), (shade, shade, shade)).save(out, "JPEG", quality=95)
    return out.getvalue()


def photo(name: str) -> bytes:
    """A frame that shows one of scikit-image's photos."""
    out = BytesIO()
    ImageOps.fit(Image.fromarray(getattr(data, name)()).convert("RGB"), (1280, 720)).save(out, "JPEG", quality=85)
    return out.getvalue()


@asynccontextmanager
async def camera(
    bus: Bus, name: str, body: bytes, *, answer: Callable[[FrameId], list[ModelAnswer]] = lambda _: [], fps: float = 10
) -> AsyncIterator[None]:
    """A camera that sends while the block lasts, whose frames models have answers to."""

    async def send() -> None:
        sequence = 0
        while True:
            sequence += 1
            frame_id = await publish(bus, name, body, sequence=sequence)
            for said in answer(frame_id):
                await say(bus, frame_id, said, size_bytes=len(body))
            await asyncio.sleep(1 / fps)

    sending = asyncio.create_task(send())
    try:
        yield
    finally:
        await cancelled(sending)


async def say(bus: Bus, frame_id: FrameId, answer: ModelAnswer, *, size_bytes: int = 1) -> None:
    """Publish a model's answer to a frame, as the gateway does."""
    frame = Frame(
        frame_id=str(frame_id),
        camera=frame_id.camera,
        capture_time=timestamp(frame_id.captured_ns),
        size_bytes=size_bytes,
        width_px=WIDTH,
        height_px=HEIGHT,
        content_type="image/jpeg",
        object_key=object_key(frame_id, "image/jpeg"),
    )
    result = Result(frame=frame, answer=answer, answer_time=timestamp(time.time_ns()))
    await bus.client.publish(f"results.{answer.model}.{frame_id.camera}", result.SerializeToString())


def boxes(model: str, *found: tuple[str, float, tuple[float, float, float, float]]) -> ModelAnswer:
    """What a detector says: names, scores and boxes."""
    objects = [
        DetectedObject(
            label=Label(name=name, score=score),
            box=Box(x_min_px=box[0], y_min_px=box[1], x_max_px=box[2], y_max_px=box[3]),
        )
        for name, score, box in found
    ]
    return _succeeded(model, Answer(detection=Detection(objects=objects)))


def mask(model: str, name: str, *, columns: slice) -> ModelAnswer:
    """What a segmenter says: those columns of pixels are something."""
    pixels = np.zeros((HEIGHT, WIDTH), np.bool_)
    pixels[:, columns] = True
    part = Segment(label=Label(name=name, score=1.0), mask=Mask(png=png.of_mask(pixels)))
    return _succeeded(model, Answer(segmentation=Segmentation(segments=[part])))


def depth(model: str, *, metres: tuple[float, float]) -> ModelAnswer:
    """What a depth model says: from the left edge to the right one, evenly, from so far to so far."""
    row = np.linspace(0, 65_535, WIDTH).astype(np.uint16)
    body = png.of_values(np.tile(row, (HEIGHT, 1)))
    return _succeeded(model, Answer(depth=Depth(png=body, minimum=metres[0], maximum=metres[1])))


def pose(model: str, *persons: dict[str, tuple[float, float, float]]) -> ModelAnswer:
    """What a pose model says of each person: where which joint is, and how sure it is."""
    instances = [
        KeypointInstance(
            points=[
                Keypoint(label=Label(name=name, score=score), x_px=x, y_px=y) for name, (x, y, score) in joints.items()
            ]
        )
        for joints in persons
    ]
    return _succeeded(model, Answer(keypoints=Keypoints(instances=instances)))


def text(model: str, words: str) -> ModelAnswer:
    """What a model says that writes."""
    return _succeeded(model, Answer(text=Text(text=words)))


def _succeeded(model: str, answer: Answer) -> ModelAnswer:
    return ModelAnswer(model=model, state=AnswerState.ANSWER_STATE_SUCCEEDED, answer=answer)


async def send(bus: Bus, frame_id: FrameId, body: bytes) -> None:
    """Publish a frame under a chosen id."""
    fields = headers(frame_id, content_type="image/jpeg", width_px=WIDTH, height_px=HEIGHT, sequence=1)
    await bus.publish(subject(frame_id.camera), body, fields, timeout=5)
