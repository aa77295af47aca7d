import asyncio
from contextlib import aclosing

import pytest
from prometheus_client import CollectorRegistry

from framemesh.bus import Bus
from framemesh.v1.answer_pb2 import ModelAnswer
from framemesh.v1.frame_pb2 import Frame
from framemesh.v1.result_pb2 import Result
from gateway import watching
from gateway.metrics import GatewayMetrics


async def publish(bus: Bus, model: str, camera: str, number: int) -> None:
    result = Result(frame=Frame(frame_id=str(number), camera=camera), answer=ModelAnswer(model=model))
    await bus.client.publish(f"results.{model}.{camera}", result.SerializeToString())


async def test_a_slow_watcher_gets_the_newest_and_the_number_of_those_missed(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_MAX_WAITING", 10)
    metrics = GatewayMetrics(CollectorRegistry())
    results = watching.watch_results(bus, metrics, models=set(), cameras=set())
    async with aclosing(results):
        first = asyncio.ensure_future(anext(results))
        while not first.done():
            await publish(bus, "m", "c", 0)
            await bus.client.flush()
        for number in range(1, 31):
            await publish(bus, "m", "c", number)
        await bus.client.flush()
        await asyncio.sleep(0)
        while metrics.missed_results._value.get() < 20:
            await asyncio.sleep(0.01)
        got = [await anext(results) for _ in range(10)]
    assert [result.frame.frame_id for result, _ in got][-1] == "30"
    assert got[0][1] >= 20
    assert [missed for _, missed in got[1:]] == [0] * 9


async def test_only_what_was_asked_for_comes(bus: Bus) -> None:
    metrics = GatewayMetrics(CollectorRegistry())
    results = watching.watch_results(bus, metrics, models={"a", "b"}, cameras={"x"})
    async with aclosing(results):
        waiting = asyncio.ensure_future(anext(results))
        number = 0
        while not waiting.done():
            number += 1
            for model, camera in (("c", "x"), ("a", "y"), ("b", "x")):
                await publish(bus, model, camera, number)
            await bus.client.flush()
        result, _ = waiting.result()
    assert (result.answer.model, result.frame.camera) == ("b", "x")
