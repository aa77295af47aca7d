import asyncio
import time
from collections.abc import Callable
from itertools import pairwise

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from framemesh.bus import Bus
from framemesh.errors import ConfigurationError, ImageTooLargeError, InvalidImageError
from framemesh.frames import FrameId
from ingest.capturing import Camera
from ingest.metrics import IngestMetrics
from ingest.pictures import Picture, Size
from ingest.publishing import Publisher
from ingest.sources import Source
from tests.ingest.media import jpeg
from tests.ingest.watching import frames, stored, until

PICTURE = Picture(jpeg(), "image/jpeg", Size(64, 48))


class Scripted:
    """A source that does as it is told, and then gives the same picture for ever."""

    def __init__(self, *script: Exception | Callable[[], None], always: Callable[[], None] | None = None) -> None:
        self._script = list(script)
        self._always = always

    def read(self) -> Picture:
        step = self._script.pop(0) if self._script else self._always
        if isinstance(step, Exception):
            raise step
        if step is not None:
            step()
        return PICTURE


class Recorder(Publisher):
    """Keeps what it is offered, and when."""

    def __init__(self, bus: Bus, metrics: IngestMetrics) -> None:
        super().__init__(bus, metrics, camera="gate", max_in_flight=1)
        self.offered: list[tuple[FrameId, int]] = []
        self.times: list[float] = []

    def offer(self, frame_id: FrameId, picture: Picture, *, sequence: int) -> None:
        assert picture is PICTURE
        self.offered.append((frame_id, sequence))
        self.times.append(time.monotonic())


@pytest.fixture
def recorder(bus: Bus, metrics: IngestMetrics) -> Recorder:
    return Recorder(bus, metrics)


async def capture(
    source: Source, recorder: Recorder, metrics: IngestMetrics, *, fps: float, count: int
) -> list[tuple[FrameId, int]]:
    """Run a camera until it has taken so many pictures."""
    camera = Camera("gate", source, recorder, metrics, fps=fps)
    async with asyncio.TaskGroup() as group:
        group.create_task(camera.run())
        await until(lambda: len(recorder.offered) >= count)
        camera.stop()
    return recorder.offered


async def test_pictures_are_taken_at_the_rate_asked_for(
    recorder: Recorder, metrics: IngestMetrics, registry: CollectorRegistry
) -> None:
    await capture(Scripted(), recorder, metrics, fps=50, count=60)
    slots = len(recorder.times) + frames(registry, "gate", "late")
    assert (slots - 1) / 50 == pytest.approx(recorder.times[-1] - recorder.times[0], abs=0.06)


async def test_numbers_run_without_a_gap_and_ids_rise(recorder: Recorder, metrics: IngestMetrics) -> None:
    offered = await capture(Scripted(), recorder, metrics, fps=200, count=50)
    assert [sequence for _, sequence in offered] == list(range(1, len(offered) + 1))
    assert all(earlier < later for (earlier, _), (later, _) in pairwise(offered))
    assert abs(offered[-1][0].captured_ns - time.time_ns()) < 5e9


async def test_ids_rise_even_where_the_clock_is_set_back(
    recorder: Recorder, metrics: IngestMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(2_000_000_000, 0, -1))
    monkeypatch.setattr("ingest.capturing.time.time_ns", lambda: next(clock))
    offered = await capture(Scripted(), recorder, metrics, fps=200, count=5)
    assert [frame_id.captured_ns for frame_id, _ in offered[:5]] == [2_000_000_000 + number for number in range(5)]


async def test_slots_that_a_slow_source_misses_are_late_and_not_made_up_for(
    recorder: Recorder, metrics: IngestMetrics, registry: CollectorRegistry
) -> None:
    source = Scripted(always=lambda: time.sleep(0.05))
    await capture(source, recorder, metrics, fps=100, count=8)
    assert frames(registry, "gate", "late") >= 4 * 6
    assert all(later - earlier > 0.03 for earlier, later in pairwise(recorder.times))


async def test_what_can_not_be_read_is_counted_and_passed_over(
    recorder: Recorder, metrics: IngestMetrics, registry: CollectorRegistry
) -> None:
    source = Scripted(InvalidImageError("a.txt: no image"), ImageTooLargeError("b.png: too large"))
    with capture_logs() as lines:
        await capture(source, recorder, metrics, fps=100, count=3)
    assert frames(registry, "gate", "unreadable") == 1
    assert frames(registry, "gate", "too_large") == 1
    assert [line["event"] for line in lines] == ["camera.picture_unreadable", "camera.picture_too_large"]
    assert {line["camera"] for line in lines} == {"gate"}


async def test_a_source_that_is_gone_is_told_of_once_and_may_come_back(
    recorder: Recorder, metrics: IngestMetrics, registry: CollectorRegistry
) -> None:
    source = Scripted(*(ConfigurationError("v.mp4 is gone") for _ in range(5)))
    with capture_logs() as lines:
        await capture(source, recorder, metrics, fps=100, count=3)
    assert frames(registry, "gate", "unreadable") == 5
    assert [line["event"] for line in lines] == ["camera.dark", "camera.sees_again"]
    assert lines[0]["error"] == "v.mp4 is gone"


async def test_a_slow_camera_stops_at_once(recorder: Recorder, metrics: IngestMetrics) -> None:
    async with asyncio.timeout(5):
        await capture(Scripted(), recorder, metrics, fps=0.001, count=1)


async def test_every_picture_taken_is_published_before_the_camera_ends(
    bus: Bus, metrics: IngestMetrics, registry: CollectorRegistry
) -> None:
    publisher = Publisher(bus, metrics, camera="real", max_in_flight=64)
    camera = Camera("real", Scripted(), publisher, metrics, fps=100)
    async with asyncio.TaskGroup() as group:
        group.create_task(camera.run())
        await until(lambda: frames(registry, "real", "published") >= 20)
        camera.stop()
    messages = await stored(bus, "real")
    assert len(messages) == frames(registry, "real", "published")
    assert [int((message.headers or {})["Framemesh-Seq"]) for message in messages] == list(range(1, len(messages) + 1))
