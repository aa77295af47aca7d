"""A model server as a process, to be killed and frozen; `python -m tests.gateway.mortal NAME REPLICA DELAY POISON`.

It answers with the image's size after so many seconds, and dies of the image whose SHA-256 is `POISON`.
"""

import asyncio
import hashlib
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from framemesh.rpc.server import serving
from framemesh.service import running
from framemesh.v1 import inference_service_pb2 as pb2
from framemesh.v1 import inference_service_pb2_grpc as pb2_grpc
from framemesh.v1.model_pb2 import ReplicaState
from model_server.announcing import Announcer, Presence
from tests.gateway.echo import EchoModel

WORKERS = 4


@dataclass
class Mortal(EchoModel):
    poison: str = ""

    async def Infer(self, request: pb2.InferRequest, context: Any) -> pb2.InferResponse:  # noqa: N802
        if hashlib.sha256(request.image).hexdigest() == self.poison:
            os._exit(1)
        return await super().Infer(request, context)


async def main(name: str, replica: str, delay: str, poison: str = "") -> None:
    model = Mortal(name, delay=float(delay), poison=poison)
    model.open_gate.set()
    service = "framemesh.v1.InferenceService"
    add = {service: lambda server: pb2_grpc.add_InferenceServiceServicer_to_server(model, server)}
    async with serving("127.0.0.1:0", add, drain_seconds=0) as server:
        await server.set_serving(serving=True)
        presence = Presence(name, replica, workers=WORKERS)
        presence.open(f"127.0.0.1:{server.port}")
        presence.become(ReplicaState.REPLICA_STATE_SERVING, version="1")
        async with running(Announcer(os.environ["FRAMEMESH_NATS_URL"], presence), drain_seconds=1):
            await asyncio.Event().wait()


@dataclass
class MortalProcess:
    """Such a process; one that dies is started again, as a supervisor would."""

    argv: list[str]
    nats: str
    deaths: int = 0
    process: asyncio.subprocess.Process = field(init=False)

    async def keep(self) -> None:
        while True:
            await self.process.wait()
            self.deaths += 1
            await self.start()

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.gateway.mortal",
            *self.argv,
            env={**os.environ, "FRAMEMESH_NATS_URL": self.nats},
        )


@asynccontextmanager
async def mortal_server(
    nats: str, name: str, *, replica: str = "0", delay: float = 0.0, poison: bytes | None = None, again: bool = True
) -> AsyncIterator[MortalProcess]:
    """The process around the block."""
    digest = [] if poison is None else [hashlib.sha256(poison).hexdigest()]
    mortal = MortalProcess([name, replica, str(delay), *digest], nats)
    await mortal.start()
    keeping = asyncio.create_task(mortal.keep() if again else asyncio.sleep(0))
    try:
        yield mortal
    finally:
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping
        with suppress(ProcessLookupError):
            mortal.process.kill()
        await mortal.process.wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
