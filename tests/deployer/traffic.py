"""A constant stream of calls and frames, and what comes of them."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from nats.aio.msg import Msg

from framemesh.bus import Bus
from framemesh.client import AsyncClient
from framemesh.errors import FramemeshError
from framemesh.v1.result_pb2 import Result
from tests.deployer.conftest import until
from tests.gateway.conftest import publish
from tests.pictures import jpeg

CALLS = int(os.environ.get("FRAMEMESH_ROLLOUT_CALLS", "240"))
CALLERS = 4
FRAMES_A_SECOND = 5
PAUSE_SECONDS = 0.1 if CALLS < 10_000 else 0.02  # of each caller between two calls: a test run has other work too


@dataclass
class Traffic:
    """What was asked, and what came of it.

    Attributes:
        versions: Which version answered, in the order of the answers.
        errors: What calls failed with.
        sent: Ids of the frames that were published.
        results: How many results each frame has.
    """

    versions: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    results: Counter[str] = field(default_factory=Counter)

    async def more(self, calls: int) -> None:
        """Wait for so many more answers."""
        enough = len(self.versions) + calls
        await until(lambda: len(self.versions) >= enough or self.errors, seconds=60 + calls)


@asynccontextmanager
async def traffic(client: AsyncClient, bus: Bus, name: str) -> AsyncIterator[Traffic]:
    """Calls, one after the other from each of a few callers, and frames of a camera, around the block."""
    seen = Traffic()
    over = asyncio.Event()

    async def calling() -> None:
        number = 0
        while not over.is_set():
            number += 1
            await asyncio.sleep(PAUSE_SECONDS)
            try:
                (answer,) = (await client.analyze(jpeg(number % 10), models=[name])).answers
            except FramemeshError as error:
                seen.errors.append(str(error))
                continue
            if answer.HasField("error"):
                seen.errors.append(answer.error.message)
            else:
                seen.versions.append(answer.model_version)

    async def filming() -> None:
        while not over.is_set():
            seen.sent.append(str(await publish(bus, "gate", jpeg(len(seen.sent)), sequence=len(seen.sent) + 1)))
            await asyncio.sleep(1 / FRAMES_A_SECOND)

    async def take(message: Msg) -> None:
        seen.results[Result.FromString(message.data).frame.frame_id] += 1

    subscription = await bus.client.subscribe(f"results.{name}.gate", cb=take)
    async with asyncio.TaskGroup() as group:
        for work in (*(calling for _ in range(CALLERS)), filming):
            group.create_task(work())
        try:
            yield seen
        finally:
            over.set()
    await until(lambda: len(seen.results) == len(seen.sent))
    await subscription.unsubscribe()
