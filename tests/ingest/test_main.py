"""The service as a process, as supervisors see it."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from framemesh.bus import Bus, streams
from framemesh.errors import EXIT_CONFIGURATION
from tests.conftest import SIZES
from tests.ingest.media import jpeg
from tests.ingest.watching import number_stored, stored, until


@asynccontextmanager
async def service(**variables: str) -> AsyncIterator[Process]:
    """`python -m ingest`, with nothing left of it afterwards."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FRAMEMESH_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ingest", env=clean | variables, stdout=PIPE, stderr=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def cameras(tmp_path: Path) -> str:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    return json.dumps([{"name": tmp_path.name.replace("_", "-"), "source": str(tmp_path), "fps": 50}])


async def ended(process: Process) -> tuple[int | None, str]:
    """Its exit code and its log."""
    async with asyncio.timeout(60):
        _, log = await process.communicate()
    return process.returncode, log.decode()


async def test_a_wrong_setting_is_named_and_ends_with_78() -> None:
    wrong = json.dumps([{"name": "gate", "source": "a.mp4", "fps": 0}])
    async with service(FRAMEMESH_CAMERAS=wrong) as process:
        code, log = await ended(process)
    assert code == EXIT_CONFIGURATION
    assert "FRAMEMESH_CAMERAS_0_FPS: Input should be greater than 0" in log
    assert "FRAMEMESH_NATS_URL: Field required" in log


async def test_cameras_that_are_no_json_end_with_78() -> None:
    async with service(FRAMEMESH_NATS_URL="nats://127.0.0.1:1", FRAMEMESH_CAMERAS="gate=a.mp4") as process:
        code, log = await ended(process)
    assert code == EXIT_CONFIGURATION
    assert "FRAMEMESH_CAMERAS: Invalid JSON" in log


async def test_sigterm_drains_and_ends_with_0(nats: str, bus: Bus, tmp_path: Path) -> None:
    name = tmp_path.name.replace("_", "-")
    async with service(FRAMEMESH_NATS_URL=nats, FRAMEMESH_CAMERAS=cameras(tmp_path)) as process:

        async def runs() -> bool:
            return await number_stored(bus, name) >= 10

        await until(runs)
        process.send_signal(signal.SIGTERM)
        code, log = await ended(process)
    assert code == 0
    assert "service.stopped" in log
    assert "frames.unacknowledged" not in log
    sequences = [int((message.headers or {})["Framemesh-Seq"]) for message in await stored(bus, name)]
    assert sequences == list(range(1, len(sequences) + 1))


async def test_a_drain_that_can_not_end_is_cut_and_says_what_is_lost(nats: str, bus: Bus, tmp_path: Path) -> None:
    await bus.js.delete_stream(streams.FRAMES)
    try:
        async with service(
            FRAMEMESH_NATS_URL=nats, FRAMEMESH_CAMERAS=cameras(tmp_path), FRAMEMESH_DRAIN_SECONDS="0.5"
        ) as process:
            assert process.stderr is not None
            async with asyncio.timeout(60):
                while b"publish.failing" not in await process.stderr.readline():
                    pass
            process.send_signal(signal.SIGTERM)
            code, log = await ended(process)
    finally:
        await streams.ensure(bus, SIZES)
    assert code == 0
    assert '"drain_seconds": 0.5' in log
    assert "frames.unacknowledged" in log
    assert "component.cut" in log


async def test_starting_needs_no_heavy_library() -> None:
    program = "import ingest.__main__, sys; print([m for m in ('torch', 'transformers', 'numpy') if m in sys.modules])"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=PIPE)
    out, _ = await process.communicate()
    assert out.decode().strip() == "[]"
