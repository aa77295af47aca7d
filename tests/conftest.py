"""Real servers for every test: NATS and S3 on free loopback ports, started by the same code as `framemesh up`."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog
from PIL import Image

from framemesh.bus import Bus, connect, streams
from framemesh.lake import Lake
from framemesh.mesh.servers import HOST, Credentials, free_port, nats_server, nats_url
from framemesh.mesh.supervision import Supervisor
from framemesh.telemetry import logs
from tests.stores import STORES

# No test may reach for a model hub.
os.environ["HF_HUB_OFFLINE"] = "1"
# Small models gain nothing from several threads, which wait for each other by spinning: with two test files at once on
# two cores, preparing a model took four times as long. Before anything imports torch, and for what tests start.
os.environ["OMP_NUM_THREADS"] = "1"
# Not as services configure it, whose loggers `capture_logs` could not reach.
structlog.configure(processors=[*structlog.get_config()["processors"][:-1], logs.CONSOLE])

CREDENTIALS = Credentials("tester", "a-password-of-tests")
SIZES = streams.StreamSizes(
    frames_bytes=256 << 20, stored_bytes=64 << 20, results_bytes=64 << 20, deadletters_bytes=64 << 20,
    keep_days=1, replicas=1,
)  # fmt: skip


_QUICK = ("docs", "doctor", "k8s")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Folders of short files come last: at the end one of two workers waits for the other one's file."""
    quick = {Path(__file__).with_name(name) for name in _QUICK}
    items.sort(key=lambda item: not quick.isdisjoint(item.path.parents))


@pytest.fixture(scope="module")
def s3_name() -> str:
    """Which S3 server. Modules whose tests must hold on every one give this fixture `params=STORES`."""
    return "juicefs"


@pytest.fixture(scope="module")
async def supervisor(s3_name: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Supervisor]:
    """Runs the servers of a module, all of them anew for each S3 server."""
    async with Supervisor(tmp_path_factory.mktemp("logs"), on_event=print) as supervisor:
        yield supervisor


@pytest.fixture(scope="module")
async def nats(supervisor: Supervisor, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a real NATS server with JetStream on disk."""
    port = free_port()
    await supervisor.start(nats_server(tmp_path_factory.mktemp("nats"), port, CREDENTIALS))
    return nats_url(port, CREDENTIALS)


@pytest.fixture(scope="module")
async def s3(s3_name: str, supervisor: Supervisor, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A real S3 server, as the variables that services read."""
    port = free_port()
    await supervisor.start(STORES[s3_name](tmp_path_factory.mktemp("s3"), port, CREDENTIALS))
    return {
        "FRAMEMESH_S3_ENDPOINT": f"http://{HOST}:{port}",
        "FRAMEMESH_S3_ACCESS_KEY": CREDENTIALS.user,
        "FRAMEMESH_S3_SECRET_KEY": CREDENTIALS.password,
    }


@pytest.fixture(scope="module")
async def bus(nats: str) -> AsyncIterator[Bus]:
    """A connection with every stream made."""
    async with connect(nats, name="tests") as bus:
        await streams.ensure(bus, SIZES)
        yield bus


@pytest.fixture(scope="module")
async def lake(s3: dict[str, str]) -> AsyncIterator[Lake]:
    async with Lake(
        s3["FRAMEMESH_S3_ENDPOINT"],
        access_key=s3["FRAMEMESH_S3_ACCESS_KEY"],
        secret_key=s3["FRAMEMESH_S3_SECRET_KEY"],
        region="us-east-1",
        bucket="frames",
        requests=8,
    ) as lake:
        yield lake


@pytest.fixture(scope="session")
def photos() -> Path:
    """Folder of the photos that scikit-image's wheel carries."""
    from framemesh.mesh.photos import photo_folder

    return photo_folder()


@pytest.fixture(scope="session")
def chelsea(photos: Path) -> Image.Image:
    """A cat, 451 x 300 pixels."""
    return Image.open(photos / "chelsea.png").convert("RGB")


@pytest.fixture(scope="session")
def small_photos(chelsea: Image.Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small photos of several shapes, for models whose work grows with the photo."""
    folder = tmp_path_factory.mktemp("photos")
    for width, height in ((160, 120), (120, 160), (200, 90), (97, 101)):
        chelsea.resize((width, height)).save(folder / f"{width}.png")
    return folder


@pytest.fixture(scope="session", autouse=True)
def few_photos(small_photos: Path) -> Iterator[None]:
    """What tests start prepares models on these too: on 25 photos of up to 1920x1080 pixels it takes twice as long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FRAMEMESH_MODEL_SAMPLES", str(small_photos))
        yield
