"""What each service may do in NATS and in the lake, on the servers as a cluster would run them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import nats
import pytest
from nats.aio.client import Client
from PIL import Image

from archiver.app import archiver
from archiver.settings import ArchiverSettings
from deployer.ledger import Ledger
from framemesh.bus import Bus, connect
from framemesh.bus.loglines import LogLines
from framemesh.bus.presence import Presence
from framemesh.bus.streams import (
    DEPLOYMENTS_BUCKET,
    MODELS_BUCKET,
    TRAINING_PROGRESS_BUCKET,
    TRAININGS_BUCKET,
)
from framemesh.bus.watching import snapshots
from framemesh.client import AsyncClient
from framemesh.errors import ConfigurationError, DatasetNotFoundError, FramemeshError
from framemesh.lake import Lake
from framemesh.limits import MAX_IMAGE_BYTES
from framemesh.mesh.servers import HOST
from framemesh.mesh.supervision import Supervisor
from framemesh.service import running
from framemesh.settings import ServiceSettings
from framemesh.specs import parse
from framemesh.v1.model_pb2 import DeploymentStatus
from framemesh.v1.training_pb2 import TrainingSpec, TrainingStatus
from gateway.app import gateway
from gateway.settings import GatewaySettings
from ingest.app import ingest
from ingest.settings import IngestSettings
from k8s.make_secrets import LAKE_RIGHTS, NATS_USERS
from tests.gateway.conftest import serving_model, until
from tests.k8s.servers import Secrets

Settings = TypeVar("Settings", bound=ServiceSettings)

FORBIDDEN = {
    "gateway": (
        "$JS.API.STREAM.DELETE.FRAMES", "$JS.API.STREAM.PURGE.FRAMES", "$KV.routes.vit.0", "$SYS.REQ.SERVER.PING",
        "presence.deployer.other", "logs.model_server.other",
    ),
    "ingest": (
        "stored.gate", "results.vit.gate", "deadletters.frames.gate", "frames.gate.more", "archive.write-now",
        "$KV.models.vit", "$KV.routes.vit.0", "$JS.API.STREAM.INFO.FRAMES", "$JS.API.CONSUMER.MSG.NEXT.FRAMES.store",
        "$JS.API.DIRECT.GET.STORED", "$JS.ACK.FRAMES.store.1.1.1.1.1", "presence.gateway.other", "logs.gateway.other",
    ),
    "archiver": (
        "frames.gate", "stored.gate", "results.vit.gate", "$KV.models.vit", "$JS.API.CONSUMER.MSG.NEXT.FRAMES.store",
        "$JS.API.STREAM.DELETE.STORED", "$JS.API.STREAM.UPDATE.STORED", "logs.gateway.other",
    ),
    "deployer": (
        "frames.gate", "presence.gateway.other", "$KV.models.vit", "$KV.trainings.vit", "$KV.routes.vit.0",
        "$JS.API.STREAM.DELETE.KV_models",
    ),
    "console": (
        "frames.gate", "stored.gate", "results.vit.gate", "$KV.models.vit", "$JS.API.STREAM.INFO.FRAMES",
        "$JS.API.CONSUMER.CREATE.STORED", "_INBOX.gateway.1", "logs.gateway.other",
    ),
    "model-server": (
        "frames.gate", "stored.gate", "results.vit.gate", "$KV.models.vit", "$JS.API.STREAM.INFO.FRAMES",
        "$JS.API.CONSUMER.CREATE.STORED", "$JS.API.STREAM.DELETE.KV_routes",
    ),
}  # fmt: skip
DEAF_TO = {
    "gateway": ("_INBOX.ingest.>", "$SYS.>"),
    "ingest": (">", "frames.*", "stored.*", "_INBOX.>", "_INBOX.gateway.>"),
    "archiver": ("frames.*", "stored.*", "_INBOX.gateway.>"),
    "deployer": ("frames.*", "stored.*", "_INBOX.gateway.>"),
    "console": (">", "stored.*", "deadletters.>", "$KV.>", "_INBOX.gateway.>"),
    "model-server": ("frames.*", "stored.*", "results.*.*", "_INBOX.gateway.>"),
}


@asynccontextmanager
async def heard(url: str) -> AsyncIterator[tuple[Client, "asyncio.Queue[Exception]"]]:
    """A client, and what the server reproaches it with."""
    reproaches = asyncio.Queue[Exception]()
    client: Client = await nats.connect(url, error_cb=reproaches.put)
    try:
        yield client, reproaches
    finally:
        await client.close()


async def forbids(reproaches: "asyncio.Queue[Exception]", subject: str) -> None:
    async with asyncio.timeout(20):
        said = str(await reproaches.get()).lower()
    assert "permissions violation" in said
    assert subject.lower() in said


@pytest.mark.parametrize("service", FORBIDDEN)
async def test_a_service_may_publish_nothing_that_it_need_not(environments: Secrets, service: str) -> None:
    async with heard(environments[service]["FRAMEMESH_NATS_URL"]) as (client, reproaches):
        for subject in FORBIDDEN[service]:
            await client.publish(subject, b"")
            await forbids(reproaches, subject)


@pytest.mark.parametrize("service", DEAF_TO)
async def test_a_service_hears_nothing_that_is_not_for_it(environments: Secrets, service: str) -> None:
    async with heard(environments[service]["FRAMEMESH_NATS_URL"]) as (client, reproaches):
        for subject in DEAF_TO[service]:
            await client.subscribe(subject)
            await forbids(reproaches, subject)


async def test_nobody_comes_in_without_a_password(environments: Secrets) -> None:
    url = environments["ingest"]["FRAMEMESH_NATS_URL"]
    for wrong in (f"nats://{url.partition('@')[2]}", url.replace("://ingest", "://gateway")):
        with pytest.raises(ConfigurationError, match="refuses the credentials"):
            async with connect(wrong, name="nobody"):
                pass


async def test_a_frame_of_the_largest_size_fits(environments: Secrets) -> None:
    async with connect(environments["ingest"]["FRAMEMESH_NATS_URL"], name="ingest") as bus:
        assert bus.client.max_payload == MAX_IMAGE_BYTES


def test_each_service_has_a_password_of_its_own(environments: Secrets) -> None:
    urls = {environments[service]["FRAMEMESH_NATS_URL"] for service in NATS_USERS}
    assert len(urls) == len(NATS_USERS)


async def test_the_mesh_does_all_its_work_within_its_permissions(
    environments: Secrets, supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.radial_gradient("L").save(tmp_path / "test.png")
    cameras = json.dumps([{"name": "gate", "source": str(tmp_path / "test.png"), "fps": 20}])
    nats_of = {service: environments[service]["FRAMEMESH_NATS_URL"] for service in NATS_USERS}
    log = supervisor._logs / "nats-0.log"
    before = log.read_text().count("Violation")

    def as_in_the_pod(service: str, settings: type[Settings], **others: Any) -> Settings:
        with monkeypatch.context() as pod:
            for name, value in environments[service].items():
                pod.setenv(name, value)
            return settings(**others)

    async with (
        gateway(as_in_the_pod("gateway", GatewaySettings, frames_stream_bytes=1 << 28)) as door,
        archiver(as_in_the_pod("archiver", ArchiverSettings, archive_seconds=0.2, retention="*=1h")),
        ingest(as_in_the_pod("ingest", IngestSettings, cameras=cameras)),
        connect(nats_of["model-server"], name="model vit") as model_bus,
        serving_model(model_bus, "vit"),
        serving_model(model_bus, "next"),
        AsyncClient(f"{HOST}:{door.grpc_port}") as client,
    ):
        await client.deploy(parse("vit=google/vit-base-patch16-224,policy=every"))
        await client.deploy(parse("next=google/vit-base-patch16-224,policy=every,shadow=true"))

        await model_bus.client.publish("logs.model_server.vit-0", b"")

        result = await anext(client.watch_results())
        for _ in range(2):
            await client.correct(result.frame.frame_id, "gradient")
        (_,) = await client.corrections()

        async def archived() -> bool:
            return all(table.archived_sequence > 1 for table in await client.archive_progress())

        await until(archived, seconds=60)
        async with connect(nats_of["ingest"], name="ingest") as camera:
            await camera.publish("frames.gate", b"no image", {}, timeout=20)
        (letter,) = await until(client.dead_letters, seconds=60)
        assert [outcome async for outcome in client.retry_dead_letters(letter.number)]
        status = await client.status()
        assert {stream.name for stream in status.streams} == {
            "FRAMES",
            "STORED",
            "RESULTS",
            "SHADOWS",
            "CORRECTIONS",
            "DEADLETTERS",
        }
        assert [service.service for service in status.services] == ["archiver", "gateway"]
        async with connect(nats_of["deployer"], name="deployer") as deployer_bus:
            async with aclosing(snapshots(deployer_bus, MODELS_BUCKET)) as following:
                assert (await anext(following)).keys() == {"vit", "next"}
            ledger = Ledger(deployer_bus, DEPLOYMENTS_BUCKET, DeploymentStatus)
            await ledger.open()
            async with running(ledger, Presence(deployer_bus, "deployer"), LogLines(deployer_bus), drain_seconds=20):
                ledger.put("vit", DeploymentStatus(message="on its way"))
            await _train(environments, client, deployer_bus)

        async def told() -> bool:
            return "on its way" in {model.status.message for model in await client.models()}

        await until(told, seconds=60)
        await client.delete("vit")
        await client.delete("next")
        await client.delete_training("vit")
    assert [line for line in log.read_text().splitlines() if "Violation" in line][before:] == []


async def _train(environments: Secrets, client: AsyncClient, deployer_bus: Bus) -> None:
    """A training is asked for, heard of, and told of."""
    spec = TrainingSpec(name="vit", dataset="lake://datasets/signs/1", base="google/vit-base-patch16-224")
    with pytest.raises(DatasetNotFoundError):
        await client.start_training(spec)
    keys = environments["dataset-exporter"]
    async with Lake(
        environments["gateway"]["FRAMEMESH_S3_ENDPOINT"],
        access_key=keys["FRAMEMESH_S3_ACCESS_KEY"],
        secret_key=keys["FRAMEMESH_S3_SECRET_KEY"],
        region="us-east-1",
        bucket="datasets",
        requests=1,
    ) as datasets:
        await datasets.put("signs/1/recipe.json", b"{}", content_type="application/json", metadata={})
    await client.start_training(spec)
    async with aclosing(snapshots(deployer_bus, TRAININGS_BUCKET)) as following:
        assert (await anext(following)).keys() == {"vit"}
    progress = Ledger(deployer_bus, TRAINING_PROGRESS_BUCKET, TrainingStatus)
    await progress.open()
    async with running(progress, drain_seconds=20):
        progress.put("vit", TrainingStatus(message="on its way"))

    async def told() -> bool:
        return "on its way" in {training.status.message for training in await client.trainings()}

    await until(told, seconds=60)


@pytest.mark.parametrize("service", LAKE_RIGHTS)
async def test_keys_of_the_lake_open_their_own_buckets_and_no_others(environments: Secrets, service: str) -> None:
    for bucket, owner in _OWNERS.items():
        async with _lake(environments, owner, bucket) as lake:
            await lake.put("there", b"x", content_type="text/plain", metadata={})
    can: dict[str, set[str]] = {}
    for bucket in _OWNERS:
        lake = _lake(environments, service, bucket)
        for right, call in (
            ("Read", lake.get("there")),
            ("Write", lake.put("own", b"x", content_type="", metadata={})),
        ):
            with suppress(FramemeshError):
                await call
                can.setdefault(bucket, set()).add(right)
    assert can == {bucket: {"Read", "Write"} & set(rights) for bucket, rights in LAKE_RIGHTS[service].items()}


async def test_a_stranger_opens_no_bucket(environments: Secrets) -> None:
    strangers = {"nobody": {**environments["gateway"], "FRAMEMESH_S3_SECRET_KEY": "x" * 40}}
    with pytest.raises(ConfigurationError, match="check the S3 keys"):
        await _lake(strangers, "nobody", "frames").__aenter__()


_OWNERS = {
    "frames": "gateway",
    "references": "archiver",
    "results": "archiver",
    "shadows": "archiver",
    "corrections": "archiver",
    "datasets": "dataset-exporter",
    "models": "model-exporter",
    "training": "model-trainer",
}


def _lake(environments: Secrets, service: str, bucket: str) -> Lake:
    own = environments[service]
    return Lake(
        own["FRAMEMESH_S3_ENDPOINT"],
        access_key=own["FRAMEMESH_S3_ACCESS_KEY"],
        secret_key=own["FRAMEMESH_S3_SECRET_KEY"],
        region="us-east-1",
        bucket=bucket,
        requests=2,
    )
