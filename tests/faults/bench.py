"""The mesh that faults are put on: servers of the test's own behind proxies, and `framemesh up` before them."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from framemesh.mesh.joining import MESH_FILE, read_state
from framemesh.mesh.servers import HOST, Credentials, free_port, nats_server, nats_url
from framemesh.mesh.supervision import Supervisor
from tests.faults.proxy import Proxy, proxy
from tests.stores import STORES

_CREDENTIALS = Credentials("tester", "a-password-of-tests")
_START_SECONDS = 120.0
_END_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Bench:
    """A mesh that runs, and everything that can be done to it."""

    folder: Path
    servers: Supervisor
    nats: Proxy
    s3: Proxy
    process: asyncio.subprocess.Process

    def running(self) -> dict[str, psutil.Process]:
        """The mesh's processes that live at this moment, by name."""
        state = read_state(self.folder)
        since = (self.folder / MESH_FILE).stat().st_mtime if state else 0.0
        found = {}
        for name, pid in {**(state.processes if state else {}), **self.servers.pids()}.items():
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                # A younger process has got a dead one's number; it is none of ours.
                if name in self.servers.pids() or process.create_time() <= since:
                    found[name] = process
        return found

    async def finish(self) -> tuple[dict[str, Any], str]:
        """Stop the cameras, drain; the report, and what was shown on the terminal."""
        self.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(_END_SECONDS):
            shown, _ = await self.process.communicate()
        assert self.process.returncode == 0, shown.decode()
        return json.loads((self.folder / "report.json").read_text()), shown.decode()


@asynccontextmanager
async def bench(folder: Path, s3_name: str, *options: str) -> AsyncIterator[Bench]:
    """A mesh around the block; whatever happens, nothing of it is left."""
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(Supervisor(folder / "servers", on_event=print))
        nats_port, s3_port = free_port(), free_port()
        await servers.start(nats_server(folder / "nats", nats_port, _CREDENTIALS))
        await servers.start(await asyncio.to_thread(STORES[s3_name], folder / "s3", s3_port, _CREDENTIALS))
        before_nats = await stack.enter_async_context(proxy(nats_port))
        before_s3 = await stack.enter_async_context(proxy(s3_port))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "framemesh", "up", "--data-dir", str(folder),
            "--report", str(folder / "report.json"), "--drain-seconds", "240", *options,
            env={
                **os.environ,
                "FRAMEMESH_NATS_URL": nats_url(before_nats.port, _CREDENTIALS),
                "FRAMEMESH_S3_ENDPOINT": f"http://{HOST}:{before_s3.port}",
                "FRAMEMESH_S3_ACCESS_KEY": _CREDENTIALS.user,
                "FRAMEMESH_S3_SECRET_KEY": _CREDENTIALS.password,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        made = Bench(folder, servers, before_nats, before_s3, process)
        try:
            async with asyncio.timeout(_START_SECONDS):
                while read_state(folder) is None:
                    assert process.returncode is None, (await process.communicate())[0].decode()
                    await asyncio.sleep(0.1)
            yield made
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            for part in made.running().values():
                with suppress(psutil.NoSuchProcess):
                    part.kill()
            await process.communicate()
