import asyncio
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry

from framemesh.bus import Bus
from framemesh.errors import (
    DeadlineError,
    InvalidImageError,
    ModelUnavailableError,
    QueueFullError,
)
from framemesh.service import running
from framemesh.specs import parse
from framemesh.v1.answer_pb2 import AnswerOptions
from framemesh.v1.inference_service_pb2 import Priority
from gateway.asking import Asker
from gateway.metrics import GatewayMetrics
from gateway.registry import Registry
from tests.gateway.conftest import serving_model, until
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
        first.delay = second.delay = 0.2
        await asyncio.gather(
            *(asker.ask("pair", jpeg(n), AnswerOptions(), priority=INTERACTIVE, timeout=5) for n in range(10))
        )
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
