"""A small mesh as users run it, and a Prometheus of the test's own, to which time runs faster."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import yaml

from framemesh.bus import Bus, connect
from framemesh.client import AsyncClient
from framemesh.mesh import observing
from framemesh.mesh.joining import MeshState, read_state
from framemesh.mesh.servers import HOST, free_port
from framemesh.mesh.supervision import Supervisor
from framemesh.specs import parse
from framemesh.v1.model_pb2 import ReplicaState
from tests.certificates import Pair
from tests.gateway.conftest import until
from tests.observability.scaling import scaled
from tests.pictures import large_jpeg

FASTER = 30
"""An hour of the rules is two minutes here."""
_SCRAPE_SECONDS = 2
"""And so long may a busy machine take to answer."""
CAMERAS = ("gate", "door")
_START_SECONDS = 380.0
_END_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Site:
    """A mesh that runs, and what can be asked of it.

    Attributes:
        folder: Its data directory.
        cameras_file: Its cameras.
        process: `framemesh up`.
        pair: What its port is encrypted with; replaced, it is taken up.
        url: The test's Prometheus.
        bus: Its NATS.
        client: Its gateway.
    """

    folder: Path
    cameras_file: Path
    process: asyncio.subprocess.Process
    pair: Pair
    url: str
    bus: Bus
    client: AsyncClient

    def state(self) -> MeshState:
        """Where everything is now."""
        state = read_state(self.folder)
        assert state is not None
        return state

    async def api(self, path: str, *, url: str | None = None, **parameters: str) -> Any:
        """What Prometheus's API says."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{url or self.url}/api/v1/{path}", params=parameters) as response,
        ):
            answer = await response.json()
        assert answer["status"] == "success", (answer, parameters)
        return answer["data"]

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an expression now."""
        found = (await self.api("query", query=expression))["result"]
        assert isinstance(found, list)
        return found

    async def firing(self) -> list[dict[str, Any]]:
        """The alerts that fire, with labels and annotations."""
        return [alert for alert in (await self.api("alerts"))["alerts"] if alert["state"] == "firing"]

    async def until_fire(self, names: Sequence[str], *, seconds: float = 120.0, **labels: str) -> None:
        """Wait until each of these has fired, with these labels."""
        missing = set(names)
        deadline = asyncio.get_running_loop().time() + seconds
        while missing:
            firing = await self.firing()
            for alert in firing:
                if labels.items() <= alert["labels"].items():
                    missing.discard(alert["labels"]["alertname"])
                for text in alert["annotations"].values():
                    assert not re.search("<no value>|error expanding", text), alert
            assert asyncio.get_running_loop().time() < deadline, f"{missing} never fired; {names_of(firing)} do"
            await asyncio.sleep(0.3)

    async def until_quiet(self, *, seconds: float = 300.0) -> None:
        """Wait until nothing fires."""
        deadline = asyncio.get_running_loop().time() + seconds
        while firing := await self.firing():
            assert asyncio.get_running_loop().time() < deadline, f"{names_of(firing)} still fire"
            await asyncio.sleep(0.3)


def names_of(alerts: list[dict[str, Any]]) -> list[str]:
    """Which alerts they are."""
    return sorted({alert["labels"]["alertname"] for alert in alerts})


def write_cameras(file: Path, names: Sequence[str] = CAMERAS, *, spill_bytes: int = 1 << 30, fps: int = 5) -> None:
    """A file of cameras, all of which show the same few pictures."""
    folder = file.parent / "photos"
    if not folder.exists():
        folder.mkdir()
        for number in range(3):
            (folder / f"{number}.jpg").write_bytes(large_jpeg(7_000, number))
    entries = [{"name": name, "source": "photos", "fps": fps, "spill_bytes": spill_bytes} for name in names]
    fresh = file.with_suffix(".new")
    fresh.write_text(yaml.safe_dump({"cameras": entries}))
    fresh.rename(file)


@asynccontextmanager
async def site(
    folder: Path, model: Path, pair: Pair, *, environment: dict[str, str] | None = None
) -> AsyncIterator[Site]:
    """A mesh with two models around the block, one under each kind of policy; whatever happens, nothing of it is left.

    Args:
        folder: For everything; `cameras.yaml` may be there already.
        model: The source of both models.
        pair: What the gateway's port is encrypted with.
        environment: Further variables.
    """
    data, cameras_file = folder / "data", folder / "cameras.yaml"
    if not cameras_file.exists():
        write_cameras(cameras_file)
    with (folder / "output").open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "framemesh", "up", "--observe", "--data-dir", str(data),
            "--cameras", str(cameras_file), "--drain-seconds", "5",
            "--model", f"quick={model},policy=latest",
            env={
                **os.environ,
                "FRAMEMESH_TLS_CERT_FILE": str(pair.cert),
                "FRAMEMESH_TLS_KEY_FILE": str(pair.key),
                "FRAMEMESH_TLS_CA_FILE": str(pair.ca),
                **(environment or {}),
            },
            stdout=output,
            stderr=output,
        )  # fmt: skip
    pids: set[int] = set()
    try:
        async with asyncio.timeout(_START_SECONDS):
            while (state := read_state(data)) is None:
                assert process.returncode is None, (folder / "output").read_text()
                await asyncio.sleep(0.1)
        pids |= set(state.processes.values())
        port = free_port()
        async with Supervisor(folder / "own", on_event=print) as supervisor:
            prometheus = observing.prometheus(
                folder / "own", port, own_rules=scaled(FASTER), scrape_seconds=_SCRAPE_SECONDS
            )
            observing.write_targets(folder / "own", state.http)
            await supervisor.start(prometheus)
            following = asyncio.create_task(_follow(data, folder / "own", pids))
            try:
                async with (
                    connect(state.nats_url, name="tests") as bus,
                    AsyncClient(state.address, tls=pair.ca) as client,
                ):
                    found = Site(data, cameras_file, process, pair, f"http://{HOST}:{port}", bus, client)
                    await client.deploy(parse(f"whole={model},policy=every"))  # once there is what both are made of
                    await until(lambda: "model-whole-0" in found.state().http, seconds=_START_SECONDS)
                    await until(lambda: _serves(client, "whole"), seconds=_START_SECONDS)
                    yield found
            finally:
                following.cancel()
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(_END_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        for pid in pids:  # none is left, unless the mesh had to be killed
            with suppress(ProcessLookupError, psutil.NoSuchProcess):
                if psutil.Process(pid).ppid() == 1:
                    os.kill(pid, signal.SIGKILL)


async def _serves(client: AsyncClient, name: str) -> bool:
    models = {model.spec.name: model for model in await client.models()}
    return any(replica.state == ReplicaState.REPLICA_STATE_SERVING for replica in models[name].replicas)


async def _follow(data: Path, own: Path, pids: set[int]) -> None:
    """Have the test's Prometheus scrape what the mesh's own does."""
    before: dict[str, str] = {}
    while True:
        state = read_state(data)
        if state is not None:
            pids |= set(state.processes.values())
            if state.http != before:
                before = state.http
                observing.write_targets(own, state.http)
        await asyncio.sleep(0.3)
