"""Models that run as shadows: they answer what the others answer, and nobody is told."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from framemesh.bus import Bus
from framemesh.client import AsyncClient
from framemesh.errors import ModelUnavailableError
from framemesh.v1.result_pb2 import Result
from gateway.app import gateway
from gateway.settings import GatewaySettings
from tests.gateway.conftest import Results, deploy, publish, serving_model, until
from tests.gateway.test_api import get
from tests.pictures import jpeg


@pytest.fixture
async def shadows(bus: Bus) -> AsyncIterator[Results]:
    """Everything that comes by on `shadows.>` while it listens."""
    listening = Results()

    async def take(message: object) -> None:
        listening.all.append(Result.FromString(message.data))  # type: ignore[attr-defined]

    subscription = await bus.client.subscribe("shadows.>", cb=take)
    yield listening
    await subscription.unsubscribe()


async def test_a_shadow_answers_every_stored_frame_and_nobody_is_told(
    settings: GatewaySettings, bus: Bus, results: Results, shadows: Results
) -> None:
    async with (
        gateway(settings) as running,
        AsyncClient(f"127.0.0.1:{running.grpc_port}") as client,
        serving_model(bus, "now"),
        serving_model(bus, "next", version="2"),
    ):
        await deploy(client, bus, "now=x,policy=every")
        await deploy(client, bus, "next=y,policy=every,shadow=true")
        watched: list[Result] = []
        sent: list[str] = []

        async def watch() -> None:
            async for result in client.watch_results():
                watched.append(result)  # noqa: PERF401 - it is looked at meanwhile

        async def heard() -> bool:
            sent.append(str(await publish(bus, "gate", jpeg(len(sent)))))
            return len(watched) >= 20

        watching = asyncio.create_task(watch())
        await until(heard, seconds=60)
        await until(lambda: len(shadows.of("next")) == len(results.of("now")) == len(sent), seconds=60)
        watching.cancel()
        assert Counter(result.frame.frame_id for result in shadows.all) == Counter(sent)
        assert {result.answer.model_version for result in shadows.all} == {"2"}
        assert {result.answer.model for result in [*results.all, *watched]} == {"now"}
        page = await asyncio.to_thread(get, f"http://127.0.0.1:{running.http_port}/metrics")
        assert 'framemesh_gateway_shadow_frames_total{model="next",outcome="succeeded"}' in page
        assert 'framemesh_gateway_model_frames_total{model="next"' not in page
        await client.delete("now")
        await client.delete("next")


async def test_who_names_no_model_gets_no_shadows_answer_and_who_names_it_does(client: AsyncClient, bus: Bus) -> None:
    async with serving_model(bus, "now"), serving_model(bus, "next"):
        await deploy(client, bus, "next=y,shadow=true")
        await until(lambda: _serving(client, "next"))
        with pytest.raises(ModelUnavailableError, match="no model is deployed yet"):
            await client.analyze(jpeg())
        await deploy(client, bus, "now=x")
        await until(lambda: _serving(client, "now"))
        assert [answer.model for answer in (await client.analyze(jpeg())).answers] == ["now"]
        assert [answer.model for answer in (await client.analyze(jpeg(), models=["next"])).answers] == ["next"]
    await client.delete("now")
    await client.delete("next")


async def test_a_shadow_that_becomes_a_model_tells_from_its_next_frame_on_and_skips_none(
    client: AsyncClient, bus: Bus, results: Results, shadows: Results
) -> None:
    async with serving_model(bus, "both"):
        await deploy(client, bus, "both=x,policy=every,shadow=true")
        sent = [str(await publish(bus, "gate", jpeg(number))) for number in range(5)]
        await until(lambda: len(shadows.of("both")) == 5, seconds=60)
        await deploy(client, bus, "both=x,policy=every")
        sent += [str(await publish(bus, "gate", jpeg(number))) for number in range(5)]
        await until(lambda: len(shadows.of("both")) + len(results.of("both")) == 10, seconds=60)
        sent.append(str(await publish(bus, "gate", jpeg(11))))
        await until(lambda: any(result.frame.frame_id == sent[-1] for result in results.of("both")))
    both = [result.frame.frame_id for result in [*shadows.of("both"), *results.of("both")]]
    assert Counter(both) == Counter(sent)
    await client.delete("both")


async def _serving(client: AsyncClient, name: str) -> bool:
    return any(model.spec.name == name and len(model.replicas) == 1 for model in await client.models())
