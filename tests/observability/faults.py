"""What goes wrong, done for real to a mesh that runs, with the alerts that have to tell."""

import asyncio
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from framemesh.bus import routes
from framemesh.bus.streams import ROUTES_BUCKET
from framemesh.errors import FramemeshError
from framemesh.frames import NANOSECONDS, FrameId, headers, subject
from framemesh.mesh.servers import HOST, free_port
from framemesh.specs import parse
from framemesh.v1.model_pb2 import ModelReplica, ReplicaState
from tests.certificates import issue
from tests.model_server import tiny
from tests.observability.site import Site, write_cameras
from tests.pictures import encoded, jpeg


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong.

    Attributes:
        name: In words.
        alerts: Those that fire while it lasts.
        begins: Causes it around a block, and mends it.
        after: Alerts that fire once it is mended.
        of: What the alerts tell it of, by label.
    """

    name: str
    alerts: tuple[str, ...]
    begins: Callable[[Site], AbstractAsyncContextManager[None]]
    after: tuple[str, ...] = ()
    of: dict[str, str] = field(default_factory=dict)


@asynccontextmanager
async def _repeated(act: Callable[[], Awaitable[object]], *, seconds: float) -> AsyncIterator[None]:
    """Something done again and again during the block."""

    async def repeat() -> None:
        while True:
            await act()
            await asyncio.sleep(seconds)

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def _frozen(site: Site, process: str) -> AsyncIterator[None]:
    pid = site.state().processes[process]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def _the_lake_hangs(site: Site) -> AsyncIterator[None]:
    write_cameras(site.cameras_file, spill_bytes=1 << 20, fps=15)  # so that streams and buffers are full soon
    try:
        async with _frozen(site, "s3"):
            yield
    finally:
        write_cameras(site.cameras_file)


@asynccontextmanager
async def _no_frames_come(site: Site) -> AsyncIterator[None]:
    """Messages that are no pictures."""
    async with _repeated(lambda: site.bus.publish("frames.gate", b"no picture", {}, timeout=5), seconds=1):
        yield


@asynccontextmanager
async def _pictures_are_damaged(site: Site) -> AsyncIterator[None]:
    """Their headers are sound, so they are stored, and no model can decode them, nor the shadow beside it."""
    shadow = next(model.spec for model in await site.client.models() if model.spec.name == "quick")
    shadow.name, shadow.shadow = "shadow", True
    await site.client.deploy(shadow)
    sound = encoded("PNG", 1, (64, 48))
    at = sound.index(b"IDAT") + 8
    damaged = sound[:at] + bytes(255 - byte for byte in sound[at : at + 16]) + sound[at + 16 :]
    try:
        async with _repeated(lambda: site.bus.publish("frames.damaged", damaged, {}, timeout=5), seconds=0.1):
            yield
    finally:
        await site.client.delete("shadow")


@asynccontextmanager
async def _a_foreign_camera_stops(site: Site) -> AsyncIterator[None]:
    async with _repeated(lambda: site.bus.publish("frames.porch", jpeg(1), {}, timeout=5), seconds=0.2):
        await asyncio.sleep(15)
    yield


@asynccontextmanager
async def _a_source_is_lost(site: Site) -> AsyncIterator[None]:
    photos = site.cameras_file.with_name("photos")
    away = photos.rename(photos.with_name("away"))
    try:
        yield
    finally:
        away.rename(photos)


@asynccontextmanager
async def _the_cameras_file_is_spoilt(site: Site) -> AsyncIterator[None]:
    site.cameras_file.write_text("cameras: [{name: gate, source: photos, fps: fast}]\n")
    try:
        yield
    finally:
        write_cameras(site.cameras_file)


@asynccontextmanager
async def _frames_come_late(site: Site) -> AsyncIterator[None]:
    """A camera whose line takes ten seconds."""

    async def publish() -> None:
        frame_id = FrameId("far", time.time_ns() - 10 * NANOSECONDS)
        fields = headers(frame_id, content_type="image/jpeg", width_px=64, height_px=48, sequence=1)
        await site.bus.publish(subject("far"), jpeg(1), fields, timeout=5)

    async with _repeated(publish, seconds=0.1):
        yield


def _frozen_server(site: Site) -> AbstractAsyncContextManager[None]:
    return _frozen(site, "model-whole-0")


@asynccontextmanager
async def _a_server_is_out_of_reach(site: Site) -> AsyncIterator[None]:
    """It says that it serves, under an address at which nothing answers."""
    lost = ModelReplica(
        model="quick",
        replica="9",
        grpc_address=f"{HOST}:{free_port()}",
        state=ReplicaState.REPLICA_STATE_SERVING,
        worker_count=1,
        model_version="1",
    )
    bucket = await site.bus.js.key_value(ROUTES_BUCKET)

    async def beat() -> None:
        now = Timestamp()
        now.GetCurrentTime()
        await bucket.put(routes.route_key(lost), routes.dump(lost, now))

    async with _repeated(beat, seconds=routes.HEARTBEAT_SECONDS):
        yield
    await bucket.delete(routes.route_key(lost))


@asynccontextmanager
async def _a_server_is_killed_again_and_again(site: Site) -> AsyncIterator[None]:
    async def kill() -> None:
        pid = site.state().processes.get("model-quick-0")
        if pid is not None and await site.query('up{process="model-quick-0"} == 1'):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    async with _repeated(kill, seconds=2.5):
        yield


@asynccontextmanager
async def _a_model_can_not_be_exported(site: Site) -> AsyncIterator[None]:
    source = site.folder.parent / "writes"
    if not source.exists():
        tiny.make("git", source)
    await site.client.deploy(parse(f"writes={source},policy=fps=0.01"))
    try:
        yield
    finally:
        await site.client.delete("writes")


@asynccontextmanager
async def _a_model_does_not_exist(site: Site) -> AsyncIterator[None]:
    await site.client.deploy(parse("hopeless=./no/such/folder"))
    try:
        yield
    finally:
        await site.client.delete("hopeless")


@asynccontextmanager
async def _callers_flood(site: Site) -> AsyncIterator[None]:
    async def ask() -> None:
        with suppress(FramemeshError):
            await site.client.analyze(jpeg(1), timeout=10)

    async def flood() -> None:
        await asyncio.gather(*(ask() for _ in range(40)))

    async with _repeated(flood, seconds=0.5):
        yield


@asynccontextmanager
async def _the_certificate_is_old(site: Site) -> AsyncIterator[None]:
    files = (site.pair.cert, site.pair.key, site.pair.ca)
    before = {file: file.read_bytes() for file in files}
    issue(site.pair.cert.parent, ends=datetime.now(UTC) + timedelta(days=2))
    try:
        yield
    finally:
        for file, content in before.items():  # whose authority our clients trust
            file.write_bytes(content)


@asynccontextmanager
async def _a_disk_fills(site: Site) -> AsyncIterator[None]:
    disk = (site.folder / "spill").resolve()
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(disk).free * 99 // 100))
    try:
        yield
    finally:
        ballast.unlink()


LAKE = Fault(
    "the lake hangs until the stream and the buffers are full",
    (
        "FramemeshFramesNotStored",
        "FramemeshStreamFilling",
        "FramemeshStreamNearlyFull",
        "FramemeshTablesBehind",
        "FramemeshCameraBuffering",
        "FramemeshFramesLost",
    ),
    _the_lake_hangs,
    after=("FramemeshFramesStoredLate",),
)
QUICK = (
    Fault("messages come that are no frames", ("FramemeshDeadLetters",), _no_frames_come),
    Fault("the cameras' file can't be read", ("FramemeshCamerasFileRefused",), _the_cameras_file_is_spoilt),
    Fault("a model is deployed that does not exist", ("FramemeshDeploymentFailing",), _a_model_does_not_exist),
    Fault("the certificate ends in two days", ("FramemeshCertificateExpires",), _the_certificate_is_old),
)
FAULTS = (
    *QUICK,
    LAKE,
    Fault("pictures are damaged inside", ("FramemeshModelFailing", "FramemeshShadowFailing"), _pictures_are_damaged),
    Fault(
        "a camera that no agent runs stops", ("FramemeshCameraSilent",), _a_foreign_camera_stops, of={"camera": "porch"}
    ),
    Fault("an agent's cameras lose their source", ("FramemeshCameraSilent",), _a_source_is_lost, of={"camera": "gate"}),
    Fault("a camera's line takes ten seconds", ("FramemeshAnswersStale",), _frames_come_late),
    Fault(
        "a model server freezes",
        ("FramemeshModelServersMissing", "FramemeshServiceDown", "FramemeshModelBehind"),
        _frozen_server,
    ),
    Fault("a server can't be reached", ("FramemeshModelServerUnreachable",), _a_server_is_out_of_reach),
    Fault("a server is killed again and again", ("FramemeshRestarting",), _a_server_is_killed_again_and_again),
    Fault("a model can't be exported", ("FramemeshModelFallback",), _a_model_can_not_be_exported),
    Fault("callers come in floods", ("FramemeshCallsRefused",), _callers_flood),
    Fault("the agent's disk fills", ("FramemeshDiskNearlyFull",), _a_disk_fills),
)
