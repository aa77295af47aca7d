"""What the gateway's metrics say of streams, models and servers, read from the page of one that runs."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from framemesh.bus import Bus
from framemesh.client import AsyncClient
from framemesh.specs import parse
from gateway.app import gateway
from gateway.settings import GatewaySettings
from tests.gateway.conftest import deploy, publish, serving_model, until
from tests.gateway.test_api import get
from tests.pictures import jpeg


class Page:
    """The metrics of a gateway that runs."""

    def __init__(self, client: AsyncClient, port: int) -> None:
        self.client = client
        self._url = f"http://127.0.0.1:{port}/metrics"

    async def shows(self, sample: str, value: float | None = None) -> None:
        """Wait until a sample is there, with this value if one is given."""

        async def shown() -> bool:
            lines = (await asyncio.to_thread(get, self._url)).splitlines()
            found = [float(line.rsplit(" ", 1)[1]) for line in lines if line.rsplit(" ", 1)[0] == sample]
            return found == [value] if value is not None else bool(found)

        await until(shown, seconds=60)

    async def forgets(self, model: str) -> None:
        """Wait until no gauge of a model is left."""

        async def forgotten() -> bool:
            page = await asyncio.to_thread(get, self._url)
            gauges = ("replicas", "wanted_replicas", "info", "waiting_frames", "images_at_once", "servers_away")
            return not any(f'framemesh_gateway_model_{name}{{model="{model}"' in page for name in gauges)

        await until(forgotten, seconds=60)


@pytest.fixture(scope="module")
async def page(settings: GatewaySettings) -> AsyncIterator[Page]:
    async with gateway(settings) as running, AsyncClient(f"127.0.0.1:{running.grpc_port}") as client:
        yield Page(client, running.http_port)


async def test_each_model_shows_its_policy_what_waits_for_it_and_how_busy_its_servers_are(page: Page, bus: Bus) -> None:
    async with serving_model(bus, "busy", workers=2) as model:
        model.open_gate.clear()
        await deploy(page.client, bus, "busy=x,policy=every,replicas=3")
        await page.shows('framemesh_gateway_model_info{model="busy",policy="every",shadow="false"}', 1)
        await page.shows('framemesh_gateway_model_wanted_replicas{model="busy"}', 3)
        await page.shows('framemesh_gateway_model_replicas{model="busy"}', 1)
        await page.shows('framemesh_gateway_model_waiting_frames{model="busy"}', 0)
        await page.shows('framemesh_gateway_model_images_at_once{model="busy"}', 4)
        for number in range(6):
            await publish(bus, "gate", jpeg(number))
        await page.shows('framemesh_gateway_model_waiting_frames{model="busy"}', 6)
        await page.shows('framemesh_gateway_model_in_flight_images{model="busy"}', 4)
        await page.shows('framemesh_gateway_model_servers_away{model="busy"}', 0)
        model.open_gate.set()
        await page.shows('framemesh_gateway_model_waiting_frames{model="busy"}', 0)
        await page.shows('framemesh_gateway_model_staleness_seconds_count{model="busy"}', 6)
        await page.client.delete("busy")
        await page.forgets("busy")


async def test_what_is_changed_of_a_model_takes_the_old_ones_place(page: Page, bus: Bus) -> None:
    await deploy(page.client, bus, "one=x,policy=every")
    await page.shows('framemesh_gateway_model_info{model="one",policy="every",shadow="false"}', 1)
    await page.client.deploy(parse("one=x,policy=fps=2"))
    await page.shows('framemesh_gateway_model_info{model="one",policy="max_fps",shadow="false"}', 1)
    assert 'policy="every"' not in await asyncio.to_thread(get, page._url)
    shadow = parse("one=x,policy=fps=2")
    shadow.shadow = True
    await page.client.deploy(shadow)
    await page.shows('framemesh_gateway_model_info{model="one",policy="max_fps",shadow="true"}', 1)
    await page.client.delete("one")


async def test_streams_show_what_they_hold_and_may_hold_and_frames_how_old_they_were_when_stored(
    page: Page, settings: GatewaySettings, bus: Bus
) -> None:
    await bus.publish("frames.gate", b"no picture", {}, timeout=60)
    await page.shows('framemesh_gateway_stream_messages{stream="DEADLETTERS"}', 1)
    await page.shows('framemesh_gateway_stream_limit_bytes{stream="STORED"}', settings.stored_stream_bytes)
    for stream in ("RESULTS", "SHADOWS", "EVENTS", "CORRECTIONS"):
        await page.shows(f'framemesh_gateway_stream_bytes{{stream="{stream}"}}')
    await publish(bus, "gate", jpeg(1))
    await page.shows('framemesh_gateway_stored_age_seconds_bucket{le="5.0"}')
    await page.shows("framemesh_gateway_certificate_expiry_timestamp_seconds", 0)
