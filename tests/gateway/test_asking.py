import asyncio
import signal
import socket
from collections.abc import AsyncIterator

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from prometheus_client import CollectorRegistry

from framemesh.bus import Bus, routes
from framemesh.bus.streams import ROUTES_BUCKET
from framemesh.errors import (
    DeadlineError,
    InvalidImageError,
    ModelUnavailableError,
    QueueFullError,
    ServerLostError,
)
from framemesh.mesh.servers import free_port
from framemesh.service import running
from framemesh.specs import parse
from framemesh.v1.answer_pb2 import AnswerOptions
from framemesh.v1.inference_service_pb2 import InferResponse, Priority
from framemesh.v1.model_pb2 import ModelReplica, ReplicaState
from gateway.asking import Asker
from gateway.metrics import GatewayMetrics
from gateway.registry import Registry
from tests.gateway.conftest import serving_model, until
from tests.gateway.mortal import mortal_server
from tests.pictures import jpeg

INTERACTIVE = Priority.PRIORITY_INTERACTIVE


@pytest.fixture(scope="module")
async def registry(bus: Bus) -> AsyncIterator[Registry]:
    registry = Registry(bus, GatewayMetrics(CollectorRegistry()))
    async with running(registry, drain_seconds=5):
        yield registry


@pytest.fixture(scope="module")
async def asker(registry: Registry) -> AsyncIterator[Asker]:
    async with Asker(registry) as asker:
        yield asker


async def test_calls_go_to_the_least_busy_server(bus: Bus, registry: Registry, asker: Asker) -> None:
    await registry.deploy(parse("pair=x,replicas=2"))
    async with serving_model(bus, "pair", replica="a") as first, serving_model(bus, "pair", replica="b") as second:
        await until(lambda: len(registry.serving("pair")) == 2)
        first.open_gate.clear()
        second.open_gate.clear()
        asking = [asyncio.create_task(ask(asker, "pair", jpeg(n))) for n in range(10)]
        await until(lambda: first.arrived + second.arrived == 10)  # all are under way at once
        first.open_gate.set()
        second.open_gate.set()
        await asyncio.gather(*asking)
        assert len(first.seen) == len(second.seen) == 5


async def test_a_server_that_is_full_or_gone_hands_over_to_another(bus: Bus, registry: Registry, asker: Asker) -> None:
    await registry.deploy(parse("trio=x,replicas=3"))
    async with (
        serving_model(bus, "trio", replica="a") as full,
        serving_model(bus, "trio", replica="b") as draining,
        serving_model(bus, "trio", replica="c") as well,
    ):
        full.fails = lambda _: QueueFullError("full")
        draining.fails = lambda _: ModelUnavailableError("draining")
        await until(lambda: len(registry.serving("trio")) == 3)
        for number in range(3):
            await asker.ask("trio", jpeg(number), AnswerOptions(), priority=INTERACTIVE, timeout=5)
        assert len(well.seen) == 3
        well.fails = lambda _: QueueFullError("full too")
        with pytest.raises((QueueFullError, ModelUnavailableError)):
            await asker.ask("trio", jpeg(), AnswerOptions(), priority=INTERACTIVE, timeout=5)


async def test_a_server_that_has_just_come_gets_its_share_at_once(bus: Bus, registry: Registry, asker: Asker) -> None:
    await registry.deploy(parse("share=x,replicas=3"))

    async def caller(calls: int) -> None:
        for number in range(calls):
            await ask(asker, "share", jpeg(number))

    async with (
        serving_model(bus, "share", replica="a", workers=1) as first,
        serving_model(bus, "share", replica="b", workers=1) as second,
    ):
        await until(lambda: len(registry.serving("share")) == 2)
        await asyncio.gather(*(caller(30) for _ in range(8)))  # their limits have grown
        async with serving_model(bus, "share", replica="c", workers=1) as third:
            await until(lambda: len(registry.serving("share")) == 3)
            for callers, calls in ((1, 60), (8, 30)):  # whether one caller is served or many
                before = [len(model.seen) for model in (first, second, third)]
                await asyncio.gather(*(caller(calls) for _ in range(callers)))
                shares = [len(model.seen) - was for model, was in zip((first, second, third), before, strict=True)]
                assert max(shares) <= 1.2 * min(shares)


async def test_a_call_that_its_servers_refuse_as_they_go_waits_for_their_successor(
    bus: Bus, registry: Registry, asker: Asker
) -> None:
    await registry.deploy(parse("heir=x"))
    async with serving_model(bus, "heir", replica="old") as old:
        old.fails = lambda _: ModelUnavailableError("draining")
        await until(lambda: registry.serving("heir"))
        asking = asyncio.create_task(ask(asker, "heir"))
        await until(lambda: old.seen)
        async with serving_model(bus, "heir", replica="new", version="2"):
            assert (await asking).model_version == "2"


async def test_an_image_that_is_broken_is_asked_about_once(bus: Bus, registry: Registry, asker: Asker) -> None:
    await registry.deploy(parse("two=x,replicas=2"))
    async with serving_model(bus, "two", replica="a") as first, serving_model(bus, "two", replica="b") as second:
        first.fails = second.fails = lambda _: InvalidImageError("damaged")
        await until(lambda: len(registry.serving("two")) == 2)
        with pytest.raises(InvalidImageError):
            await asker.ask("two", jpeg(), AnswerOptions(), priority=INTERACTIVE, timeout=5)
        assert len(first.seen) + len(second.seen) == 1


async def test_a_server_that_hangs_costs_no_more_than_the_time_given(
    bus: Bus, registry: Registry, asker: Asker
) -> None:
    await registry.deploy(parse("hung=x"))
    async with serving_model(bus, "hung") as model:
        model.open_gate.clear()
        await until(lambda: registry.serving("hung"))
        with pytest.raises(DeadlineError):
            await asker.ask("hung", jpeg(), AnswerOptions(), priority=INTERACTIVE, timeout=0.2)


async def test_a_model_without_servers_says_so_at_once(registry: Registry, asker: Asker) -> None:
    with pytest.raises(ModelUnavailableError, match="framemesh models"):
        await asker.ask("nobody", jpeg(), AnswerOptions(), priority=INTERACTIVE, timeout=5)
    assert asker.images_at_once("nobody") == 0


async def test_an_image_goes_to_another_server_when_its_own_is_killed(
    nats: str, bus: Bus, registry: Registry, asker: Asker
) -> None:
    await registry.deploy(parse("killed=x,replicas=2"))
    async with mortal_server(nats, "killed", replica="a", delay=60, again=False) as mortal:
        await until(lambda: registry.serving("killed"))
        asking = asyncio.create_task(ask(asker, "killed"))
        address = registry.serving("killed")[0].grpc_address
        await until(lambda: address in asker._servers and asker._servers[address]._calls)
        async with serving_model(bus, "killed", replica="b") as well:
            await until(lambda: len(registry.serving("killed")) == 2)
            mortal.process.kill()
            await asking
            assert len(well.seen) == 1
            assert asker.images_at_once("killed", queued=False) == 1  # the dead one is left, though the routes name it


async def test_an_image_that_two_servers_were_lost_with_is_given_up(
    nats: str, registry: Registry, asker: Asker
) -> None:
    await registry.deploy(parse("deadly=x,replicas=3"))
    async with (
        mortal_server(nats, "deadly", replica="a", poison=jpeg(), again=False) as first,
        mortal_server(nats, "deadly", replica="b", poison=jpeg(), again=False) as second,
        mortal_server(nats, "deadly", replica="c", poison=jpeg(), again=False) as third,
    ):
        await until(lambda: len(registry.serving("deadly")) == 3)
        with pytest.raises(ServerLostError):
            await ask(asker, "deadly")
        await until(lambda: [one.process.returncode for one in (first, second, third)].count(None) == 1)
        await ask(asker, "deadly", jpeg(1))  # the third is well


async def test_a_frozen_server_is_left_and_comes_back(
    nats: str, bus: Bus, registry: Registry, asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "SILENT_SECONDS", 3600.0)  # or it would be another server when it is back, however soon
    await registry.deploy(parse("frozen=x,replicas=2"))
    async with mortal_server(nats, "frozen", replica="a") as mortal:
        await until(lambda: asker.images_at_once("frozen"))
        await ask(asker, "frozen")
        mortal.process.send_signal(signal.SIGSTOP)
        with pytest.raises(ServerLostError, match="health check"):
            await ask(asker, "frozen")
        assert asker.images_at_once("frozen") == 0
        mortal.process.send_signal(signal.SIGCONT)
        await until(lambda: asker.images_at_once("frozen") == 1)  # one image first
        await ask(asker, "frozen")


async def test_a_connection_that_is_refused_is_left_at_once(bus: Bus, registry: Registry, asker: Asker) -> None:
    await registry.deploy(parse("refused=x,replicas=2"))
    entry = ModelReplica(
        model="refused",
        replica="a",
        grpc_address=f"127.0.0.1:{free_port()}",
        state=ReplicaState.REPLICA_STATE_SERVING,
        worker_count=8,
    )
    bucket = await bus.js.key_value(ROUTES_BUCKET)
    await bucket.put("refused.a", routes.dump(entry, Timestamp(seconds=1)))
    async with serving_model(bus, "refused", replica="b", workers=2) as well:
        await until(lambda: len(registry.serving("refused")) == 2)
        for number in range(4):
            await ask(asker, "refused", jpeg(number))
        assert len(well.seen) == 4
        assert asker.images_at_once("refused", queued=False) == 2
    await bucket.delete("refused.a")


async def test_a_listener_that_says_nothing_is_left(bus: Bus, registry: Registry, asker: Asker) -> None:
    await registry.deploy(parse("mute=x"))
    bucket = await bus.js.key_value(ROUTES_BUCKET)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        entry = ModelReplica(
            model="mute",
            replica="0",
            grpc_address=f"127.0.0.1:{listener.getsockname()[1]}",
            state=ReplicaState.REPLICA_STATE_SERVING,
        )
        await bucket.put("mute.0", routes.dump(entry, Timestamp(seconds=1)))
        await until(lambda: asker.images_at_once("mute"))
        with pytest.raises(DeadlineError):
            await asker.ask("mute", jpeg(), AnswerOptions(), priority=INTERACTIVE, timeout=0.2)
        assert asker.images_at_once("mute") > 0  # the caller had too little time to tell
        with pytest.raises(ModelUnavailableError, match="no connection"):
            await ask(asker, "mute")
        assert asker.images_at_once("mute") == 0
    await bucket.delete("mute.0")


async def test_a_server_whose_queue_is_full_is_sent_less(bus: Bus, registry: Registry, asker: Asker) -> None:
    await registry.deploy(parse("busy=x"))
    async with serving_model(bus, "busy", workers=8) as model:
        await until(lambda: registry.serving("busy"))
        before = asker.images_at_once("busy")
        model.fails = lambda _: QueueFullError("full")
        with pytest.raises(QueueFullError):
            await ask(asker, "busy")
        assert asker.images_at_once("busy") == before // 2


async def test_a_server_that_grew_is_sent_more(bus: Bus, registry: Registry, asker: Asker) -> None:
    await registry.deploy(parse("grown=x"))
    bucket = await bus.js.key_value(ROUTES_BUCKET)
    for workers in (1, 6):
        entry = ModelReplica(
            model="grown",
            replica="0",
            grpc_address="127.0.0.1:1",
            state=ReplicaState.REPLICA_STATE_SERVING,
            worker_count=workers,
        )
        await bucket.put("grown.0", routes.dump(entry, Timestamp(seconds=workers)))
        await until(lambda workers=workers: asker.images_at_once("grown", queued=False) == workers)  # type: ignore[misc]
    await bucket.delete("grown.0")


async def test_connections_close_when_their_server_is_gone(bus: Bus, registry: Registry, asker: Asker) -> None:
    await registry.deploy(parse("leaving=x"))
    async with serving_model(bus, "leaving"):
        await until(lambda: registry.serving("leaving"))
        await ask(asker, "leaving")
        address = registry.serving("leaving")[0].grpc_address
        assert address in asker._servers
    await until(lambda: address not in asker._servers)


async def ask(asker: Asker, model: str, image: bytes | None = None) -> InferResponse:
    return await asker.ask(model, image or jpeg(), AnswerOptions(), priority=INTERACTIVE, timeout=30)
