"""The whole service in this process, against a real NATS server."""

import json
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import aiohttp
from structlog.testing import capture_logs

from framemesh.bus import Bus
from framemesh.mesh.supervision import Supervisor
from ingest.app import ingest
from ingest.settings import IngestSettings
from tests.ingest.media import GREYS, grey_of, jpeg, size_of, video
from tests.ingest.watching import number_stored, stored, until


def settings(nats: str, *cameras: Mapping[str, object], **others: object) -> IngestSettings:
    return IngestSettings.model_validate({"nats_url": nats, "cameras": json.dumps(cameras), **others})


def arrived(bus: Bus, camera: str, count: int) -> Callable[[], Awaitable[bool]]:
    """The condition that so many of a camera's frames are in the stream."""

    async def condition() -> bool:
        return await number_stored(bus, camera) >= count

    return condition


async def page(port: int, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as response:
        return response.status, await response.text()


async def test_stills_folders_and_videos_arrive_side_by_side(nats: str, bus: Bus, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_text("no image")
    for grey in GREYS:
        (tmp_path / "folder" / f"{grey:03d}.jpg").write_bytes(jpeg(grey))
    cameras = (
        {"name": "still", "source": str(photos / "chelsea.png"), "fps": 20, "width_px": 160, "height_px": 90},
        {"name": "folder", "source": str(tmp_path / "folder"), "fps": 20},
        {"name": "video", "source": str(video(tmp_path / "v.mp4")), "fps": 25},
    )
    async with ingest(settings(nats, *cameras)) as port:
        for camera in cameras:
            await until(arrived(bus, str(camera["name"]), 10))
        assert await page(port, "/healthz") == (200, "ok\n")
        status, metrics = await page(port, "/metrics")
    assert status == 200
    assert 'framemesh_ingest_frames_total{camera="folder",outcome="unreadable"} 1.0' in metrics
    assert 'framemesh_ingest_frames_total{camera="still",outcome="refused"} 0.0' in metrics
    stills, folder, film = [await stored(bus, str(camera["name"])) for camera in cameras]
    assert size_of(stills[0].data or b"") == (160, 90)
    assert [grey_of(message.data or b"") for message in folder[:10]] == [*GREYS, *GREYS][:10]
    assert [grey_of(message.data or b"") for message in film[:10]] == [*GREYS, *GREYS][:10]


async def test_every_frame_arrives_once_though_nats_is_killed_in_mid_stream(
    nats: str, bus: Bus, supervisor: Supervisor, tmp_path: Path
) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    cameras = [{"name": name, "source": str(tmp_path), "fps": 50} for name in ("one", "two")]
    async with ingest(settings(nats, *cameras, max_in_flight=1024)) as port:
        await until(arrived(bus, "one", 20))
        killed = supervisor.pids()["nats"]
        os.kill(killed, signal.SIGKILL)
        await until(lambda: supervisor.pids().get("nats", killed) != killed)
        await until(lambda: bus.client.is_connected)
        await until(arrived(bus, "two", await number_stored(bus, "two") + 20))
        _, metrics = await page(port, "/metrics")
    assert 'framemesh_ingest_publish_retries_total{camera="one"} 0.0' not in metrics
    for name in ("one", "two"):
        sequences = sorted(int((message.headers or {})["Framemesh-Seq"]) for message in await stored(bus, name))
        assert sequences == list(range(1, len(sequences) + 1))


async def test_a_source_that_is_not_there_is_told_and_the_other_cameras_go_on(
    nats: str, bus: Bus, tmp_path: Path
) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    cameras = (
        {"name": "lost", "source": str(tmp_path / "missing.mp4")},
        {"name": "fine", "source": str(tmp_path), "fps": 20},
    )
    with capture_logs() as lines:
        async with ingest(settings(nats, *cameras)) as port:
            await until(arrived(bus, "fine", 5))
            await until(lambda: any(line["event"] == "camera.dark" for line in lines))
            _, metrics = await page(port, "/metrics")
    assert 'framemesh_ingest_source_errors_total{camera="lost"} 0.0' not in metrics
    (told,) = [line for line in lines if line["event"] == "camera.dark"]
    assert told["camera"] == "lost"
    assert "missing.mp4 can't be opened" in told["error"]
