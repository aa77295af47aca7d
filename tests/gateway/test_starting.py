"""The gateway as a process, beside a store that isn't there yet."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from framemesh.mesh.servers import free_port
from tests.faults.proxy import Proxy


@asynccontextmanager
async def gateway_process(nats: str, s3: dict[str, str], port: int) -> AsyncIterator[Process]:
    env = {**os.environ, **s3, "FRAMEMESH_NATS_URL": nats, "FRAMEMESH_S3_ENDPOINT": f"http://127.0.0.1:{port}"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", env=env, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def told(process: Process, event: str) -> None:
    """Wait until the process logs an event."""
    assert process.stderr is not None
    async with asyncio.timeout(60):
        async for line in process.stderr:
            if f'"event": "{event}"' in line.decode():
                return
    raise AssertionError(event)


async def test_a_store_that_comes_later_is_waited_for(nats: str, s3: dict[str, str]) -> None:
    proxy = Proxy(int(s3["FRAMEMESH_S3_ENDPOINT"].rpartition(":")[2]))
    async with gateway_process(nats, s3, proxy.port) as process:
        await told(process, "lake.not_there")
        await proxy.mend()
        await told(process, "service.started")
    await proxy.cut()


async def test_whoever_waits_for_a_store_still_obeys_a_signal(nats: str, s3: dict[str, str]) -> None:
    async with gateway_process(nats, s3, free_port()) as process:
        await told(process, "lake.not_there")
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):  # it would wait for ever
            assert await process.wait() == 0
