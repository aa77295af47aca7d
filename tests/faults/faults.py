"""What goes wrong in the field, done on purpose."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

import psutil

from tests.faults.bench import Bench
from tests.faults.proxy import Proxy

_PARTS = ("archiver", "deployer", "gateway", "model-tiny-0", "ingest", "nats", "s3")
_SHORTEST_SECONDS, _LONGEST_SECONDS = 0.1, 8.0

Fault = Callable[[Bench, random.Random], Awaitable[str]]
"""Does its worst and mends it again; says in words what it did."""


async def kill(bench: Bench, chance: random.Random) -> str:
    """SIGKILL; whoever watches the process starts it again."""
    name, process = await _any_part(bench, chance)
    with suppress(psutil.NoSuchProcess):
        process.kill()
    return f"killed {name}"


async def kill_two(bench: Bench, chance: random.Random) -> str:
    """Two at the same time."""
    return f"{await kill(bench, chance)} and {await kill(bench, chance)}"


async def freeze(bench: Bench, chance: random.Random) -> str:
    """SIGSTOP, and SIGCONT after a while."""
    (name, process), seconds = await _any_part(bench, chance), _while(chance)
    with suppress(psutil.NoSuchProcess):
        process.suspend()
        await asyncio.sleep(seconds)
        process.resume()
    return f"froze {name} for {seconds:.1f} s"


async def cut(bench: Bench, chance: random.Random) -> str:
    """The network breaks: connections end, new ones are refused."""
    return await _for_a_while(bench, chance, "cut off", lambda proxy: proxy.cut())


async def stall(bench: Bench, chance: random.Random) -> str:
    """The network swallows everything."""

    async def begin(proxy: Proxy) -> None:
        proxy.stall()

    return await _for_a_while(bench, chance, "stalled", begin)


async def slow(bench: Bench, chance: random.Random) -> str:
    """The network is slow."""

    async def begin(proxy: Proxy) -> None:
        proxy.slow(chance.uniform(0.005, 0.1))

    return await _for_a_while(bench, chance, "slowed down", begin)


FAULTS: tuple[Fault, ...] = (kill, kill, kill_two, freeze, cut, stall, slow)
"""Kills are the most frequent."""


async def _for_a_while(
    bench: Bench, chance: random.Random, what: str, begin: Callable[[Proxy], Awaitable[None]]
) -> str:
    name, seconds = chance.choice(("nats", "s3")), _while(chance)
    proxy = {"nats": bench.nats, "s3": bench.s3}[name]
    await begin(proxy)
    await asyncio.sleep(seconds)
    await proxy.mend()
    return f"{what} {name} for {seconds:.1f} s"


async def _any_part(bench: Bench, chance: random.Random) -> tuple[str, psutil.Process]:
    """One that lives; where all wait for their restart, the first to come."""
    while not (parts := [(name, process) for name, process in bench.running().items() if name in _PARTS]):
        await asyncio.sleep(0.05)
    return chance.choice(sorted(parts, key=lambda part: part[0]))


def _while(chance: random.Random) -> float:
    """Mostly short, sometimes long, in seconds."""
    return float(_SHORTEST_SECONDS * (_LONGEST_SECONDS / _SHORTEST_SECONDS) ** chance.random())
