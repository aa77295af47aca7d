"""`framemesh trainings` as people and programs run it, at a real gateway. The test tells what a deployer would."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

from framemesh.bus import Bus, encoding
from framemesh.bus.streams import TRAINING_PROGRESS_BUCKET
from framemesh.client import AsyncClient
from framemesh.errors import EXIT_INTERRUPTED
from framemesh.lake import Lake
from framemesh.v1.training_pb2 import TrainingPhase, TrainingSpec, TrainingStatus
from framemesh.v1.training_service_pb2 import StartTrainingResponse, StopTrainingResponse
from gateway.app import gateway
from gateway.settings import GatewaySettings
from tests.gateway.conftest import until

SECONDS = 60.0
RESULT = {
    "source": "lake://models/signs/r1",
    "weights": "lake://training/signs/r1",
    "scores": {
        "measure": "accuracy",
        "overall": {"value": 0.9, "low": 0.8, "high": 0.95},
        "images": 40,
        "classes": [{"name": "parking", "count": 40, "precision": 0.9, "recall": 0.875}],
    },
}


@pytest.fixture(scope="module")
async def address(settings: GatewaySettings) -> AsyncIterator[str]:
    """Of a gateway in whose lake there is a dataset."""
    async with gateway(settings) as running:
        async with Lake.from_settings(settings, bucket=settings.s3_datasets_bucket) as datasets:
            await datasets.put("signs/1/recipe.json", b"{}", content_type="application/json", metadata={})
        yield f"127.0.0.1:{running.grpc_port}"


@pytest.fixture(scope="module")
async def client(address: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(address) as client:
        yield client


async def test_watch_shows_each_step_and_at_the_end_the_scores_and_what_to_do(
    bus: Bus, client: AsyncClient, address: str
) -> None:
    wish = await start(client, "signs")
    async with trainings("watch", "signs", "--address", address) as process:
        assert process.stderr is not None
        assert await line(process.stderr) == "signs: waits for a deployer to take it up"
        await tell(bus, wish, "READING", progress=0.4)
        assert await line(process.stderr) == "signs: reading 40 %"
        await tell(bus, wish, "TRAINING", epoch=1, epoch_count=2, loss=0.5, validation={"accuracy": 0.75})
        assert await line(process.stderr) == "epoch 1/2: loss 0.500; validation accuracy 0.750"
        assert await line(process.stderr) == "signs: training, epoch 1/2"
        await tell(bus, wish, "SUCCEEDED", result=RESULT)
        code, printed, _ = await end(process)
    assert code == 0
    assert "accuracy on the test split: 0.900 [0.800, 0.950], 40 pictures" in printed
    assert printed.endswith("framemesh deploy lake://models/signs/r1 --shadow\n")


async def test_programs_read_each_state_of_a_training_and_one_that_fails_ends_with_1(
    bus: Bus, client: AsyncClient, address: str
) -> None:
    wish = await start(client, "lost")
    async with trainings("watch", "lost", "--json", "--address", address) as process:
        assert process.stdout is not None
        assert json.loads(await line(process.stdout))["spec"]["name"] == "lost"
        await tell(bus, wish, "FAILED", message="there is no model folder './nowhere'")
        code, printed, _ = await end(process)
    assert code == 1
    assert json.loads(printed.splitlines()[-1])["status"]["message"] == "there is no model folder './nowhere'"
    async with trainings("watch", "lost", "--address", address) as process:
        code, printed, said = await end(process)
    assert (code, printed, said) == (1, "", "lost: failed: there is no model folder './nowhere'\n")


async def test_a_person_who_has_seen_enough_leaves_the_training_alone(
    bus: Bus, client: AsyncClient, address: str
) -> None:
    wish = await start(client, "long")
    await tell(bus, wish, "TRAINING")
    async with trainings("watch", "long", "--address", address) as process:
        assert process.stderr is not None
        while await line(process.stderr) != "long: training":
            pass
        process.send_signal(signal.SIGINT)
        code, _, said = await end(process)
    assert code == EXIT_INTERRUPTED
    assert "it goes on: see `framemesh trainings watch long`" in said
    (spec,) = [training.spec for training in await client.trainings() if training.spec.name == "long"]
    assert not spec.stopped


async def test_stop_waits_for_the_checkpoint_unless_told_not_to(bus: Bus, client: AsyncClient, address: str) -> None:
    wish = await start(client, "half")
    await tell(bus, wish, "TRAINING")
    async with trainings("stop", "half", "--no-wait", "--address", address) as process:
        assert await end(process) == (0, "", "")
    async with trainings("stop", "half", "--address", address) as process:
        assert process.stderr is not None
        assert await line(process.stderr) == "half: waits for a deployer to take it up"
        stopped = await client.stop_training("half")  # which is wanted already
        assert stopped.spec.stopped
        await tell(bus, stopped, "STOPPING")
        assert await line(process.stderr) == "half: stopping"
        await tell(bus, stopped, "STOPPED")
        assert await end(process) == (0, "", "half: stopped\n")


async def test_what_is_deleted_is_known_no_more_and_whoever_names_it_is_told_what_there_is(
    client: AsyncClient, address: str
) -> None:
    await start(client, "gone")
    async with trainings("watch", "gone", "--address", address) as watching:
        assert watching.stderr is not None
        assert await line(watching.stderr) == "gone: waits for a deployer to take it up"
        async with trainings("delete", "gone", "--address", address) as deleting:
            assert await end(deleting) == (0, "", "")
        assert await end(watching) == (1, "", "framemesh: training 'gone' was deleted meanwhile\n")
    assert not await is_listed(client, "gone")
    for command in ("watch", "stop", "delete"):
        async with trainings(command, "gone", "--address", address) as process:
            code, _, said = await end(process)
        assert code == 1
        assert said.startswith("framemesh: no training 'gone'; there are: ")


async def start(client: AsyncClient, name: str) -> StartTrainingResponse:
    """Want a training, and wait until the gateway lists it."""
    spec = TrainingSpec(name=name, dataset="lake://datasets/signs/1", base="hub/vit")
    wish = await client.start_training(spec)
    await until(lambda: is_listed(client, name), seconds=SECONDS)
    return wish


async def is_listed(client: AsyncClient, name: str) -> bool:
    return name in {training.spec.name for training in await client.trainings()}


async def tell(bus: Bus, wish: StartTrainingResponse | StopTrainingResponse, phase: str, **known: Any) -> None:
    """Say how far a wish is, as a deployer does."""
    status = ParseDict(known, TrainingStatus())
    status.phase, status.generation = TrainingPhase.Value(f"TRAINING_PHASE_{phase}"), wish.generation
    bucket = await bus.js.key_value(TRAINING_PROGRESS_BUCKET)
    await bucket.put(wish.spec.name, encoding.dump(status))


@asynccontextmanager
async def trainings(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command around the block."""
    argv = (sys.executable, "-m", "framemesh", "trainings", *arguments)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*argv, stdout=pipe, stderr=pipe)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def line(stream: asyncio.StreamReader) -> str:
    """The next line; fails where there is none more."""
    async with asyncio.timeout(SECONDS):
        read = await stream.readline()
    assert read
    return read.decode().rstrip("\n")


async def end(process: asyncio.subprocess.Process) -> tuple[int, str, str]:
    """The exit code, and what is printed until then on standard output and error."""
    async with asyncio.timeout(SECONDS):
        printed, said = await process.communicate()
    assert process.returncode is not None
    return process.returncode, printed.decode(), said.decode()
