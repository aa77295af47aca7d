import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from archiver.app import archiver
from archiver.settings import ArchiverSettings
from framemesh import specs
from framemesh.bus import Bus, streams
from framemesh.client import AsyncClient
from framemesh.v1 import status_service_pb2 as pb2
from framemesh.v1.model_pb2 import EveryFrame, FramePolicy, Model, ModelReplica, ModelSpec, ReplicaState
from gateway.app import gateway
from gateway.problems import problems
from gateway.settings import GatewaySettings
from tests.faults.proxy import proxy
from tests.gateway.conftest import publish, serving_model, until
from tests.pictures import jpeg

NOW = datetime(2026, 9, 21, 14, tzinfo=UTC)


async def told(client: AsyncClient) -> dict[str, Any]:
    """The status, its parts by name."""
    found = await client.status()
    return {
        "problems": list(found.problems),
        "streams": {stream.name: stream for stream in found.streams},
        "cameras": {camera.camera: camera for camera in found.cameras},
        "models": {each.model.spec.name: each for each in found.models},
        "tables": {table.name: table for table in found.tables},
        "answers": (found.bus_answers, found.lake_answers),
        "services": [service.service for service in found.services],
    }


async def test_a_mesh_that_is_well_says_so_with_each_cameras_newest_frame(
    client: AsyncClient, settings: GatewaySettings, bus: Bus
) -> None:
    before = (await bus.js.stream_info(streams.STORED)).state.messages
    for number in range(5):  # each stored before the next: at once, they might change places
        newest = await publish(bus, "well", jpeg(number))
        await until(partial(stored, bus, before + number + 1))
    await client.deploy(ModelSpec(name="answers", source="x", policy=FramePolicy(every=EveryFrame())))
    async with serving_model(bus, "answers"), archiver(archiver_settings(settings)):

        async def quiet() -> dict[str, Any] | None:
            found = await told(client)
            settled = not found["problems"] and not found["tables"]["frames"].waiting_message_count
            stored = not found["streams"]["FRAMES"].message_count  # a frame leaves after its reference is out
            return found if settled and stored and found["services"] == ["archiver", "gateway"] else None

        found = await until(quiet)
    assert found["answers"] == (True, True)
    assert found["streams"]["FRAMES"].limit_bytes == settings.frames_stream_bytes
    assert found["streams"]["STORED"].message_count == before + 5
    assert found["cameras"]["well"].newest_frame.frame.frame_id == str(newest)
    assert list(found["models"]) == ["answers"]
    await client.delete("answers")

    async def archiver_has_left() -> bool:
        return bool((await told(client))["services"] == ["gateway"])

    await until(archiver_has_left)


async def stored(bus: Bus, count: int) -> bool:
    return (await bus.js.stream_info(streams.STORED)).state.messages == count


def archiver_settings(settings: GatewaySettings) -> ArchiverSettings:
    return ArchiverSettings(
        **settings.model_dump(include={"nats_url", "s3_endpoint", "s3_access_key", "s3_secret_key"}),
        archive_seconds=0.2,
    )


async def test_a_model_without_servers_and_its_backlog_are_named(client: AsyncClient, bus: Bus) -> None:
    await client.deploy(specs.parse("absent=some/model,policy=every"))

    async def deployed() -> bool:
        found = await told(client)
        return "absent" in found["models"] and any("absent" in problem for problem in found["problems"])

    await until(deployed)
    for number in range(7):
        await publish(bus, "unseen", jpeg(number))

    async def waiting() -> bool:
        return bool((await told(client))["models"]["absent"].waiting_frame_count == 7)

    await until(waiting)
    assert any("absent: 0 of 1 servers" in problem for problem in (await told(client))["problems"])
    await client.delete("absent")


async def test_a_lake_that_is_away_is_told_with_what_waits_for_it(settings: GatewaySettings, bus: Bus) -> None:
    async with proxy(int(settings.s3_endpoint.rpartition(":")[2])) as way:
        behind = settings.model_copy(update={"s3_endpoint": f"http://127.0.0.1:{way.port}", "drain_seconds": 0.5})
        async with gateway(behind) as running, AsyncClient(f"127.0.0.1:{running.grpc_port}") as client:
            await way.cut()
            for number in range(3):
                await publish(bus, "kept", jpeg(number))
            found = await told(client)
            assert found["answers"] == (True, False)
            assert any("can't be reached" in problem for problem in found["problems"])
            shown = await show(running.grpc_port)
            assert (shown.returncode, "the lake does not answer" in shown.stdout) == (1, True)
            await way.mend()
            way.stall()
            assert any("did not answer in 2 s" in problem for problem in (await told(client))["problems"])
            await way.mend()

            async def well_again() -> bool:
                found = await told(client)
                return bool(found["cameras"]["kept"].waiting_frame_count == 0) and found["answers"] == (True, True)

            await until(well_again)
            shown = await show(running.grpc_port)
            assert (shown.returncode, "all is well" in shown.stdout) == (0, True), shown
            document = json.loads((await show(running.grpc_port, "--json")).stdout)
            assert document["problems"] == []
            names = {"FRAMES", "STORED", "RESULTS", "SHADOWS", "CORRECTIONS", "DEADLETTERS"}
            assert {stream["name"] for stream in document["streams"]} == names


async def show(port: int, *options: str) -> subprocess.CompletedProcess[str]:
    argv = (sys.executable, "-m", "framemesh", "status", "--address", f"127.0.0.1:{port}", *options)
    return await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, check=False, timeout=60)


def ago(**span: float) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(NOW - timedelta(**span))
    return made


def frames(messages: int, share: float, **oldest: float) -> pb2.StreamStatus:
    return pb2.StreamStatus(
        name="FRAMES",
        message_count=messages,
        size_bytes=int(share * 1000),
        limit_bytes=1000,
        oldest_time=ago(**oldest) if oldest else None,
    )


def model(wanted: int, *states: ReplicaState.ValueType) -> pb2.ModelStatus:
    replicas = [ModelReplica(replica=str(number), state=state) for number, state in enumerate(states)]
    return pb2.ModelStatus(model=Model(spec=ModelSpec(name="vit", replicas=wanted), replicas=replicas))


SERVING, LOADING = ReplicaState.REPLICA_STATE_SERVING, ReplicaState.REPLICA_STATE_LOADING
CASES: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, ""),
    "an empty stream": ({"streams": [frames(0, 0.0)]}, ""),
    "frames of just now": ({"streams": [frames(9, 0.1, seconds=1)]}, ""),
    "frames of a while ago": ({"streams": [frames(9, 0.1, seconds=60)]}, "9 frames wait"),
    "a stream that is nearly full": ({"streams": [frames(9, 0.95, seconds=1)]}, "95 % full"),
    "a model that answers": ({"models": [model(1, SERVING)]}, ""),
    "a model that nobody wants": ({"models": [model(0)]}, ""),
    "a model with too few servers": ({"models": [model(2, SERVING, LOADING)]}, "1 of 2 servers"),
    "a table that follows": (
        {"tables": [pb2.TableStatus(name="frames", waiting_message_count=5, waiting_since_time=ago(seconds=10))]},
        "",
    ),
    "a table that nobody writes": (
        {"tables": [pb2.TableStatus(name="frames", waiting_message_count=5, waiting_since_time=ago(hours=1))]},
        "60 minutes behind",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_said_in_words(case: str) -> None:
    parts, words = CASES[case]
    found = list(problems(pb2.GetStatusResponse(**parts), NOW))
    assert len(found) == (1 if words else 0)
    assert words in "".join(found)
