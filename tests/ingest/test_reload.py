"""The whole service as its file of cameras changes, against a real NATS server."""

import os
import signal
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from nats.js.api import RawStreamMsg
from PIL import Image
from structlog.testing import capture_logs

from framemesh.bus import Bus, streams
from framemesh.errors import EXIT_CONFIGURATION
from framemesh.frames import subject
from ingest import following
from ingest.app import ingest
from ingest.settings import IngestSettings
from tests.ingest.media import grey_of, jpeg, size_of
from tests.ingest.test_app import arrived, page
from tests.ingest.test_main import ended, service
from tests.ingest.watching import number_stored, stored, until


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_LOOK_SECONDS", 0.05)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a file of cameras, with folders of pictures that they may have."""
    for grey in (48, 208):
        (tmp_path / f"grey-{grey}").mkdir()
        (tmp_path / f"grey-{grey}" / "a.jpg").write_bytes(jpeg(grey, width=160, height=120))
    return tmp_path


def write(folder: Path, *cameras: str) -> Path:
    """The file, replaced as editors do; each camera is what stands between its braces."""
    new = folder / "new.yaml"
    new.write_text("defaults: {fps: 20}\ncameras:\n" + "".join(f"  - {{{camera}}}\n" for camera in cameras))
    return new.replace(folder / "cameras.yaml")


def settings(nats: str, file: Path) -> IngestSettings:
    return IngestSettings.model_validate({"nats_url": nats, "cameras_file": file})


def page_has(port: int, path: str, words: str) -> Callable[[], Awaitable[bool]]:
    async def condition() -> bool:
        return words in (await page(port, path))[1]

    return condition


def counted(port: int, camera: str, outcome: str, count: int) -> Callable[[], Awaitable[bool]]:
    """The condition that so many of a camera's frames ended so."""
    name = f'framemesh_ingest_frames_total{{camera="{camera}",outcome="{outcome}"}} '

    async def condition() -> bool:
        lines = (await page(port, "/metrics"))[1].splitlines()
        return any(float(line.removeprefix(name)) >= count for line in lines if line.startswith(name))

    return condition


async def newest(bus: Bus, camera: str) -> RawStreamMsg:
    """A camera's newest frame; it has one."""
    return await bus.js.get_last_msg(streams.FRAMES, subject(camera))


def shows(bus: Bus, camera: str, wanted: Callable[[RawStreamMsg], bool]) -> Callable[[], Awaitable[bool]]:
    """The condition that a camera's newest frame is as wanted."""

    async def condition() -> bool:
        return wanted(await newest(bus, camera))

    return condition


async def test_cameras_come_change_and_go_as_the_file_does(nats: str, bus: Bus, folder: Path) -> None:
    file = write(folder, "name: stays, source: grey-48", "name: goes, source: grey-48")
    async with ingest(settings(nats, file)) as port:
        await until(arrived(bus, "stays", 3))
        await until(arrived(bus, "goes", 3))
        write(folder, "name: comes, source: grey-48", "name: stays, source: grey-48")
        await until(arrived(bus, "comes", 3))
        await until(lambda: gone(port, "goes"))
        left = await number_stored(bus, "goes")
        write(folder, "name: comes, source: grey-208, max_width_px: 80", "name: stays, source: grey-48")
        await until(shows(bus, "comes", lambda frame: size_of(frame.data or b"") == (80, 60)))
        assert grey_of((await newest(bus, "comes")).data or b"") == 208
        await until(arrived(bus, "stays", await number_stored(bus, "stays") + 3))
        assert await number_stored(bus, "goes") == left
    sequences = [int((frame.headers or {})["Framemesh-Seq"]) for frame in await stored(bus, "stays")]
    assert sequences == list(range(1, len(sequences) + 1))  # it ran on untouched


async def gone(port: int, camera: str) -> bool:
    return f'camera="{camera}"' not in (await page(port, "/metrics"))[1]


async def test_a_broken_file_is_told_of_and_the_cameras_of_before_run_on(nats: str, bus: Bus, folder: Path) -> None:
    file = write(folder, "name: held, source: grey-48")
    async with ingest(settings(nats, file)) as port:
        await until(arrived(bus, "held", 3))
        write(folder, "name: held, source: grey-208, fps: 0")
        await until(page_has(port, "/healthz", "fps should be greater than 0"))
        status, health = await page(port, "/healthz")
        assert (status, health.splitlines()[0]) == (200, "ok")
        assert f"{file}:3:" in health
        assert "framemesh_ingest_cameras_file_refused 1.0" in (await page(port, "/metrics"))[1]
        await until(arrived(bus, "held", await number_stored(bus, "held") + 3))
        assert grey_of((await newest(bus, "held")).data or b"") == 48
        write(folder, "name: held, source: grey-208")
        await until(shows(bus, "held", lambda frame: grey_of(frame.data or b"") == 208))
        assert await page(port, "/healthz") == (200, "ok\n")


async def test_on_sighup_the_file_is_read_at_once(
    nats: str, bus: Bus, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_LOOK_SECONDS", 3600)
    file = write(folder, "name: first, source: grey-48")
    async with ingest(settings(nats, file)):
        await until(arrived(bus, "first", 3))
        write(folder, "name: second, source: grey-48")
        os.kill(os.getpid(), signal.SIGHUP)
        await until(arrived(bus, "second", 3))


async def test_no_frame_leaves_the_agent_without_its_masks(nats: str, bus: Bus, folder: Path) -> None:
    mask = "masks: [{rectangle: [0, 0, 0.5, 1]}]"
    misfit = "masks: [{rectangle: [0, 0, 10, 10], of_px: [100, 20]}]"
    file = write(
        folder,
        f"name: masked, source: grey-208, {mask}",
        f"name: misfit, source: grey-208, {misfit}",
        f"name: absent, source: no-such-folder, {mask}",
    )
    async with ingest(settings(nats, file)) as port:
        await until(arrived(bus, "masked", 5))
        await until(counted(port, "misfit", "unreadable", 3))
    for frame in await stored(bus, "masked"):
        image = Image.open(BytesIO(frame.data or b"")).convert("L")
        assert image.size == (160, 120)
        assert max(image.crop((0, 0, 76, 120)).tobytes()) < 30
        assert min(image.crop((84, 0, 160, 120)).tobytes()) > 180
    assert await stored(bus, "misfit") == await stored(bus, "absent") == []


async def test_what_hardly_differs_is_counted_and_not_sent(nats: str, bus: Bus, folder: Path) -> None:
    file = write(folder, "name: idle, source: grey-48, min_change: 0.01, max_silence_seconds: 3600")
    async with ingest(settings(nats, file)) as port:
        await until(counted(port, "idle", "unchanged", 10))
    (frame,) = await stored(bus, "idle")
    assert frame.data == (folder / "grey-48" / "a.jpg").read_bytes()


async def test_a_file_that_can_not_be_used_at_the_start_ends_with_78_and_its_lines(folder: Path) -> None:
    file = write(folder, "name: yard/north, source: a.mp4", "name: gate, source: 'rtps://10.0.0.7'")
    async with service(FRAMEMESH_NATS_URL="nats://127.0.0.1:1", FRAMEMESH_CAMERAS_FILE=str(file)) as process:
        code, log = await ended(process)
    assert code == EXIT_CONFIGURATION
    assert f"{file}:3:12: camera 'yard/north': name" in log
    assert f"{file}:4:26: camera 'gate': source: no source begins with rtps://; did you mean rtsp://?" in log


async def test_one_bad_camera_harms_no_other(nats: str, bus: Bus, folder: Path) -> None:
    (folder / "text.mp4").write_text("no video at all\n" * 100)
    file = write(
        folder,
        "name: text, source: text.mp4",
        "name: missing, source: nowhere.mp4",
        "name: closed, source: 'rtsp://127.0.0.1:1/main'",
        "name: sound, source: grey-48",
    )
    with capture_logs() as lines:
        async with ingest(settings(nats, file)):
            await until(arrived(bus, "sound", 10))
            for name, words in (("text", "text.mp4"), ("missing", "No such file"), ("closed", "127.0.0.1:1")):
                await until(partial(is_told, lines, name, words))


def is_told(lines: list[MutableMapping[str, Any]], camera: str, words: str) -> bool:
    """Whether the log has an error of a camera with such words."""
    return any(line.get("camera") == camera and words in line.get("error", "") for line in lines)
