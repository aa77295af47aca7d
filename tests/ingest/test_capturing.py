import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from framemesh.bus import Bus
from framemesh.errors import (
    ConfigurationError,
    ImageTooLargeError,
    InvalidImageError,
    SourceUnavailableError,
)
from framemesh.frames import FrameId
from framemesh.waiting import Backoff
from ingest import capturing
from ingest.capturing import Camera
from ingest.health import EventKind, SourceState
from ingest.metrics import IngestMetrics
from ingest.pictures import Picture, Size
from ingest.publishing import Publisher
from ingest.settings import CameraSettings
from ingest.shots import EndOfSource, Shot, Source, Stalled, Timing
from tests.ingest.media import GREYS, grey_of, jpeg, video
from tests.ingest.rtsp import PASSWORD, USER, RtspServer, rtsp_server
from tests.ingest.watching import frames, stored, until, value

PICTURE = Picture(jpeg(), "image/jpeg", Size(64, 48))

Step = Exception | Shot | Callable[[], None]


class Scripted:
    """A source that does as it is told, and then gives the same picture for ever."""

    def __init__(
        self,
        *script: Step,
        always: Callable[[], None] | None = None,
        timing: Timing = Timing.PACED,
        patience_seconds: float | None = None,
    ) -> None:
        self.timing = timing
        self.patience_seconds = patience_seconds
        self.opened = 0
        self.closed = 0
        self._script = list(script)
        self._always = always

    def open(self, _: CameraSettings) -> Source:
        self.opened += 1
        return self

    def read(self) -> Shot:
        step = self._script.pop(0) if self._script else self._always
        if isinstance(step, Exception):
            raise step
        if isinstance(step, Shot):
            return step
        if step is not None:
            step()
        return Shot(PICTURE)

    def close(self) -> None:
        self.closed += 1


class Recorder(Publisher):
    """Keeps what it is offered, and when."""

    def __init__(self, bus: Bus, metrics: IngestMetrics) -> None:
        super().__init__(bus, metrics, camera="gate", max_in_flight=1)
        self.offered: list[tuple[FrameId, int]] = []
        self.pictures: list[Picture] = []
        self.times: list[float] = []

    def offer(self, frame_id: FrameId, picture: Picture, *, sequence: int) -> None:
        self.offered.append((frame_id, sequence))
        self.pictures.append(picture)
        self.times.append(time.monotonic())


@pytest.fixture
def recorder(bus: Bus, metrics: IngestMetrics) -> Recorder:
    return Recorder(bus, metrics)


def settings(**given: object) -> CameraSettings:
    return CameraSettings.model_validate({"name": "gate", "source": "somewhere", **given})


async def capture(
    source: Scripted, recorder: Recorder, metrics: IngestMetrics, *, count: int, **given: object
) -> list[tuple[FrameId, int]]:
    """Run a camera until it has taken so many pictures."""
    camera = Camera(settings(**given), recorder, metrics, open_source=source.open)
    async with asyncio.TaskGroup() as group:
        group.create_task(camera.run())
        await until(lambda: len(recorder.offered) >= count)
        camera.stop()
    return recorder.offered


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries again at once."""
    monkeypatch.setattr(capturing, "_FIRST_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(capturing, "_LAST_RETRY_SECONDS", 0.05)


async def test_pictures_are_taken_no_faster_than_asked_for(recorder: Recorder, metrics: IngestMetrics) -> None:
    await capture(Scripted(), recorder, metrics, fps=50, count=101)
    assert recorder.times[100] - recorder.times[0] > 1.0  # 2 s, less what the first may have been late


async def test_numbers_run_without_a_gap_and_ids_rise(recorder: Recorder, metrics: IngestMetrics) -> None:
    offered = await capture(Scripted(), recorder, metrics, fps=200, count=50)
    assert [sequence for _, sequence in offered] == list(range(1, len(offered) + 1))
    assert all(earlier < later for (earlier, _), (later, _) in pairwise(offered))
    assert abs(offered[-1][0].captured_ns - time.time_ns()) < 5e9


async def test_slots_that_a_slow_source_misses_are_late_and_not_made_up_for(
    recorder: Recorder, metrics: IngestMetrics, registry: CollectorRegistry
) -> None:
    source = Scripted(always=lambda: time.sleep(0.05))
    await capture(source, recorder, metrics, fps=100, count=8)
    assert frames(registry, "gate", "late") >= 4 * 6


@pytest.mark.parametrize("timing", [Timing.PACED, Timing.TIMED])
async def test_every_picture_of_what_is_recorded_is_taken_however_slowly(
    recorder: Recorder, metrics: IngestMetrics, timing: Timing
) -> None:
    shots = [
        Shot(Picture(jpeg(grey), "image/jpeg", Size(64, 48)), at_seconds=number / 1000)
        for number, grey in enumerate(GREYS)
    ]
    await capture(Scripted(*shots, timing=timing), recorder, metrics, count=len(GREYS))
    assert [grey_of(picture.body) for picture in recorder.pictures[: len(GREYS)]] == [*GREYS]


async def test_of_a_live_source_only_the_newest_picture_is_taken(
    recorder: Recorder, metrics: IngestMetrics, registry: CollectorRegistry
) -> None:
    go, read, freed = threading.Event(), threading.Event(), threading.Event()

    def all_read() -> None:
        read.set()
        freed.wait()

    shots = [Shot(Picture(jpeg(grey), "image/jpeg", Size(64, 48))) for grey in GREYS]
    source = Scripted(lambda: wait_for(go), *shots, always=all_read, timing=Timing.LIVE)
    camera = Camera(settings(), recorder, metrics, open_source=source.open)
    running = asyncio.create_task(camera.run())
    await until(lambda: source.opened == 1)
    go.set()
    assert read.wait(60)  # on the loop's own thread: the camera can take nothing meanwhile
    await until(lambda: len(recorder.pictures) == 1)
    camera.stop()
    freed.set()
    await running
    assert grey_of(recorder.pictures[0].body) == GREYS[-1]
    assert frames(registry, "gate", "late") == len(GREYS)


def wait_for(event: threading.Event) -> None:
    assert event.wait(60)


@pytest.mark.parametrize("timing", [Timing.LIVE, Timing.TIMED])
async def test_what_has_a_time_of_its_own_is_capped(
    recorder: Recorder, metrics: IngestMetrics, registry: CollectorRegistry, timing: Timing
) -> None:
    shots = [Shot(PICTURE, at_seconds=number / 100) for number in range(101)]
    source = Scripted(*shots, EndOfSource(), timing=timing)
    camera = Camera(settings(fps=20), recorder, metrics, open_source=source.open)
    await camera.run()
    late = frames(registry, "gate", "late")  # of a live source, what the camera was too busy for; it passed the cap too
    assert len(recorder.offered) + late == pytest.approx(21, abs=3)
    assert timing is Timing.LIVE or late == 0


async def test_what_has_a_time_of_its_own_is_shown_in_it_and_ends(recorder: Recorder, metrics: IngestMetrics) -> None:
    shots = [Shot(PICTURE, at_seconds=7 + number / 4) for number in range(8)]
    source = Scripted(*shots, EndOfSource(), timing=Timing.TIMED)
    camera = Camera(settings(), recorder, metrics, open_source=source.open)
    await camera.run()
    assert len(recorder.times) == 8
    assert recorder.times[-1] - recorder.times[0] > 0.8  # 1.75 s, likewise
    assert (source.opened, source.closed) == (1, 1)


async def test_what_can_not_be_read_is_counted_and_passed_over(
    recorder: Recorder, metrics: IngestMetrics, registry: CollectorRegistry
) -> None:
    source = Scripted(InvalidImageError("a.txt: no image"), ImageTooLargeError("b.png: too large"))
    with capture_logs() as lines:
        await capture(source, recorder, metrics, fps=100, count=3)
    assert frames(registry, "gate", "unreadable") == 1
    assert frames(registry, "gate", "too_large") == 1
    warned = [line for line in lines if line["log_level"] == "warning"]
    assert [line["event"] for line in warned] == ["camera.picture_unreadable", "camera.picture_too_large"]
    assert {line["camera"] for line in lines} == {"gate"}


async def test_a_picture_that_shows_its_damage_only_in_decoding_is_counted_too(
    recorder: Recorder, metrics: IngestMetrics, registry: CollectorRegistry
) -> None:
    damaged = Shot(Picture(b"\x89PNG no image", "image/png", Size(64, 48)))
    await capture(Scripted(damaged), recorder, metrics, fps=100, count=3)
    assert frames(registry, "gate", "unreadable") == 1


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", [ConfigurationError, SourceUnavailableError])
async def test_a_source_that_is_gone_is_told_of_once_and_opened_until_it_is_back(
    recorder: Recorder, metrics: IngestMetrics, registry: CollectorRegistry, kind: type[Exception]
) -> None:
    source = Scripted(*(kind("v.mp4 is gone") for _ in range(5)))
    with capture_logs() as lines:
        await capture(source, recorder, metrics, fps=100, count=3)
    assert [line["event"] for line in lines] == ["camera.dark", "camera.sees_again"]
    assert lines[0]["error"] == "v.mp4 is gone"
    assert source.opened == 6
    await until(lambda: source.closed == 6)
    assert value(registry, "framemesh_ingest_source_errors_total", camera="gate") == 5
    assert value(registry, "framemesh_ingest_source_reconnects_total", camera="gate") == 1
    assert recorder.health.last_error == "v.mp4 is gone"
    assert recorder.health.source is SourceState.CAPTURING


@pytest.mark.usefixtures("impatient")
async def test_a_fault_in_a_source_is_logged_without_its_words_and_the_camera_goes_on(
    recorder: Recorder, metrics: IngestMetrics
) -> None:
    source = Scripted(ZeroDivisionError("rtsp://user:secret@camera"))
    with capture_logs() as lines:
        await capture(source, recorder, metrics, fps=100, count=3)
    assert lines[0]["event"] == "camera.fault"
    assert "secret" not in str(lines)
    assert "secret" not in recorder.health.last_error


@pytest.mark.usefixtures("impatient")
async def test_a_source_that_stalls_is_opened_anew(recorder: Recorder, metrics: IngestMetrics) -> None:
    source = Scripted(lambda: None, Stalled("nothing has come for 10 s", 10.0))
    await capture(source, recorder, metrics, fps=100, count=3)
    assert source.opened == 2
    assert [event.kind for event in recorder.health.events()] == [
        EventKind.CONNECTED, EventKind.STALLED, EventKind.RECOVERED,
    ]  # fmt: skip


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("worked_seconds", "resets"), [(0.3, 1), (0.0, 0)])
async def test_waits_begin_anew_only_once_a_source_has_worked_for_longer_than_the_last(
    recorder: Recorder,
    metrics: IngestMetrics,
    monkeypatch: pytest.MonkeyPatch,
    worked_seconds: float,
    resets: int,
) -> None:
    counted: list[None] = []
    monkeypatch.setattr(Backoff, "reset", lambda _: counted.append(None))
    monkeypatch.setattr(Backoff, "next_seconds", lambda _: 0.1)

    def lost() -> None:
        while not recorder.offered:  # only what the camera has seen shows it that the source works
            time.sleep(0.01)
        time.sleep(worked_seconds)
        raise SourceUnavailableError("it closed the connection")

    gone = SourceUnavailableError("nothing listens there")
    script: list[Step] = [gone, lambda: None, lost, gone] if worked_seconds else [gone, gone, gone, gone]
    at_last: list[int] = []
    script.append(lambda: at_last.append(len(counted)))
    await capture(Scripted(*script, timing=Timing.LIVE), recorder, metrics, count=3)
    assert at_last == [resets]


@pytest.mark.usefixtures("impatient")
async def test_calls_that_never_return_are_left_behind_up_to_a_bound_and_hold_up_nobody(
    recorder: Recorder, metrics: IngestMetrics
) -> None:
    freed, before = threading.Event(), threading.active_count()
    source = Scripted(always=lambda: wait_for(freed), timing=Timing.LIVE, patience_seconds=0.1)
    camera = Camera(settings(), recorder, metrics, open_source=source.open)
    running = asyncio.create_task(camera.run())
    await until(lambda: "tries to read it hang" in recorder.health.last_error)
    assert source.opened == 3
    assert threading.active_count() - before < 10  # others' tests have left some
    freed.set()
    await until(lambda: source.opened > 3)
    camera.stop()
    async with asyncio.timeout(60):
        await running
    await until(lambda: source.closed == source.opened)


async def test_a_camera_stops_at_once_whatever_its_source_does(recorder: Recorder, metrics: IngestMetrics) -> None:
    entered, freed = threading.Event(), threading.Event()

    def hang() -> None:
        entered.set()
        freed.wait()

    camera = Camera(settings(), recorder, metrics, open_source=Scripted(always=hang).open)
    running = asyncio.create_task(camera.run())
    await until(entered.is_set)
    camera.stop()
    async with asyncio.timeout(60):
        await running
    freed.set()


async def test_a_slow_camera_stops_at_once(recorder: Recorder, metrics: IngestMetrics) -> None:
    async with asyncio.timeout(60):  # its next picture is due in a quarter of an hour
        await capture(Scripted(), recorder, metrics, fps=0.001, count=1)


async def test_every_picture_taken_is_published_before_the_camera_ends(
    bus: Bus, metrics: IngestMetrics, registry: CollectorRegistry
) -> None:
    publisher = Publisher(bus, metrics, camera="real", max_in_flight=64)
    camera = Camera(settings(name="real", fps=100), publisher, metrics, open_source=Scripted().open)
    async with asyncio.TaskGroup() as group:
        group.create_task(camera.run())
        await until(lambda: frames(registry, "real", "published") >= 20)
        camera.stop()
    messages = await stored(bus, "real")
    assert len(messages) == frames(registry, "real", "published")
    assert [int((message.headers or {})["Framemesh-Seq"]) for message in messages] == list(range(1, len(messages) + 1))


@pytest.fixture(scope="module")
def server() -> Iterator[RtspServer]:
    with rtsp_server("gate=mjpeg:64x48@25") as running:
        yield running


@pytest.mark.usefixtures("impatient")
async def test_a_camera_lives_through_its_servers_death_and_freezing(
    server: RtspServer, recorder: Recorder, metrics: IngestMetrics
) -> None:
    gate = settings(source=server.url("gate"), username=USER, password=PASSWORD, stall_seconds=2)
    camera = Camera(gate, recorder, metrics)
    running = asyncio.create_task(camera.run())
    await until(lambda: len(recorder.offered) >= 5)
    server.kill()
    await until(lambda: recorder.health.source is SourceState.LOST)
    await asyncio.to_thread(server.start)
    await until(lambda: recorder.health.source is SourceState.CAPTURING)
    server.freeze()
    await until(lambda: recorder.health.source in {SourceState.STALLED, SourceState.LOST})
    server.thaw()
    await until(lambda: recorder.health.source is SourceState.CAPTURING)
    camera.stop()
    await running
    sequences = [sequence for _, sequence in recorder.offered]
    assert sequences == list(range(1, len(sequences) + 1))
    assert all(earlier < later for (earlier, _), (later, _) in pairwise(recorder.offered))


@pytest.mark.usefixtures("impatient")
async def test_one_camera_s_trouble_is_none_of_another_s(
    bus: Bus, recorder: Recorder, metrics: IngestMetrics, tmp_path: Path
) -> None:
    path = video(tmp_path / "v.mp4")
    troubles = [
        Camera(
            settings(name=f"bad-{number}", source=source),
            Publisher(bus, metrics, camera=f"bad-{number}", max_in_flight=1),
            metrics,
        )
        for number, source in enumerate(("rtsp://127.0.0.1:1/x", str(tmp_path / "none.mp4"), str(tmp_path)))
    ]
    good = Camera(settings(source=str(path)), recorder, metrics)
    running = [asyncio.create_task(camera.run()) for camera in (*troubles, good)]
    await until(lambda: len(recorder.offered) >= 2 * len(GREYS))
    for camera in (*troubles, good):
        camera.stop()
    await asyncio.gather(*running)
    assert grey_of(recorder.pictures[0].body) == GREYS[0]
