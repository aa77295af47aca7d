"""What NATS lets agents and single cameras do, on a real server with the users that the mesh and the docs give them."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import nats as nats_py
import pytest
from nats.js.errors import KeyNotFoundError
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

import docs.reference
from framemesh.bus import Bus, cameras, connect, streams
from framemesh.bus.connection import Login
from framemesh.errors import BusUnavailableError, ConfigurationError, PublishDeniedError
from framemesh.frames import FrameId, headers
from framemesh.mesh.servers import Credentials, agent_permissions, camera_permissions, free_port, nats_server, nats_url
from framemesh.mesh.supervision import Supervisor
from framemesh.v1.camera_pb2 import LineState as LineStateValue
from ingest import lines
from ingest.delivery import Delivery, cameras_login, delivering
from ingest.health import LineState
from ingest.metrics import IngestMetrics
from ingest.settings import CameraSettings
from tests.conftest import CREDENTIALS, SIZES
from tests.ingest.jwts import Operator
from tests.ingest.media import jpeg
from tests.ingest.test_delivery import Offering, arrived, camera, ended, sequences, settings
from tests.ingest.watching import patiently, stored

AGENT = Credentials("ingest", "of-the-agent")
GATE = Credentials("gate", "of-the-gate")
OWN = {"nats_username": GATE.user, "nats_password": GATE.password}
PAGE = Path(docs.reference.__file__).with_name("cameras.md")


@pytest.fixture(scope="module")
async def strict(supervisor: Supervisor, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where a server is on which the agent and the camera `gate` have users of their own."""
    port = free_port()
    others = {AGENT: agent_permissions(AGENT.user), GATE: camera_permissions(GATE.user, "gate")}
    await supervisor.start(nats_server(tmp_path_factory.mktemp("strict"), port, CREDENTIALS, others=others))
    return nats_url(port, CREDENTIALS)


@pytest.fixture(scope="module")
async def bus(strict: str) -> AsyncIterator[Bus]:
    async with connect(strict, name="tests") as bus:
        await streams.ensure(bus, SIZES)
        yield bus


def of(credentials: Credentials, url: str) -> str:
    """The same server for another user."""
    return nats_url(int(url.rpartition(":")[2]), credentials)


async def refusals(url: str, user: str, *, publish: list[str], subscribe: list[str]) -> list[str]:
    """Which of these subjects the server refuses, in its own words without their quotes."""
    told: list[str] = []

    async def on_error(error: Exception) -> None:
        told.append(str(error).replace('"', ""))

    client = await nats_py.connect(url, error_cb=on_error, inbox_prefix=f"_INBOX.{user}")
    try:
        for subject in publish:
            await client.publish(subject, b"x")
        for subject in subscribe:
            await client.subscribe(subject)
        await client.flush()
        await patiently(lambda: len(told) >= len(publish) + len(subscribe))
    finally:
        await client.close()
    return [words.rpartition(" ")[2] for words in told]


async def test_a_cameras_user_publishes_its_own_frames_and_can_neither_read_nor_publish_anything_else(
    strict: str, bus: Bus
) -> None:
    publish = ["frames.door", "stored.gate", "results.vit.gate", "events.cameras.gate", "$KV.cameras.gate",
               "$JS.API.STREAM.INFO.FRAMES", "$JS.API.CONSUMER.CREATE.FRAMES"]  # fmt: skip
    subscribe = ["frames.gate", "frames.>", "stored.*", "_INBOX.>", "_INBOX.ingest.>", ">"]
    refused = await refusals(of(GATE, strict), GATE.user, publish=publish, subscribe=subscribe)
    assert refused == [subject.lower() for subject in publish + subscribe]
    assert await stored(bus, "door") == []
    async with connect(of(GATE, strict), name="gate", login=Login(inbox_prefix="_INBOX.gate")) as own:
        words = headers(FrameId("gate", 7 * 10**17), content_type="image/jpeg", width_px=64, height_px=48, sequence=9)
        receipt = await own.publish("frames.gate", jpeg(), words, timeout=10)
    assert receipt.stream == streams.FRAMES
    await bus.js.purge_stream(streams.FRAMES)


async def test_an_agents_user_sends_frames_and_says_how_cameras_are_and_reads_nothing(strict: str, bus: Bus) -> None:
    publish = ["stored.gate", "results.vit.gate", "deadletters.gate", "$KV.models.vit", "$KV.routes.vit.0",
               "$JS.API.STREAM.INFO.FRAMES", "$JS.API.CONSUMER.MSG.NEXT.FRAMES.store"]  # fmt: skip
    subscribe = ["frames.>", "stored.*", "$KV.>", "_INBOX.>"]
    refused = await refusals(of(AGENT, strict), AGENT.user, publish=publish, subscribe=subscribe)
    assert refused == [subject.lower() for subject in publish + subscribe]


async def test_a_refused_publish_fails_at_once_and_names_the_subject(strict: str, bus: Bus) -> None:
    login = Login(GATE.user, GATE.password, inbox_prefix="_INBOX.gate")
    async with connect(strict, name="gate", login=login) as own:
        async with asyncio.timeout(30):
            with pytest.raises(PublishDeniedError, match=r"'frames\.door'.*permit it there"):
                await own.publish("frames.door", jpeg(), {}, timeout=120)


async def test_a_user_who_can_not_hear_receipts_is_told_which_inbox_it_needs(strict: str, bus: Bus) -> None:
    login = Login(GATE.user, GATE.password)
    async with connect(strict, name="somebody", login=login) as own:
        with suppress(BusUnavailableError):
            await own.publish("frames.gate", jpeg(), {}, timeout=0.2)
        await patiently(lambda: own.denied_inbox is not None)
        with pytest.raises(PublishDeniedError, match=r"'_inbox\..*where receipts come"):
            await own.publish("frames.gate", jpeg(), {}, timeout=0.2)
    await bus.js.purge_stream(streams.FRAMES)


async def test_cameras_with_users_of_their_own_go_on_beside_one_whose_user_may_not(
    strict: str, bus: Bus, metrics: IngestMetrics, registry: CollectorRegistry, tmp_path: Path
) -> None:
    gate, door, wrong, plain = (Offering(name) for name in ("gate", "door", "wrong", "plain"))
    for name in ("gate", "door", "wrong", "plain"):
        metrics.start_camera(name)
    misled = {**OWN, "nats_password": "of-somebody-else"}

    async def others() -> None:
        async with (
            delivery.publisher(camera("door", **OWN)) as at_the_door,
            delivery.publisher(camera("wrong", **misled)) as at_wrong,
        ):
            door.offer(at_the_door, times=3)
            wrong.offer(at_wrong, times=3)

    async def told(name: str) -> bool:
        try:
            found = await (await bus.js.key_value(streams.CAMERAS_BUCKET)).get(name)
        except KeyNotFoundError:
            return False
        entry = cameras.load(found.value or b"")
        return entry is not None and entry.line_state == LineStateValue.LINE_STATE_REFUSED and bool(entry.last_error)

    with capture_logs() as lines:
        async with delivering(settings(of(AGENT, strict), tmp_path), metrics) as delivery:
            refused = asyncio.create_task(others())
            async with (
                delivery.publisher(camera("gate", **OWN)) as at_the_gate,
                delivery.publisher(camera("plain")) as at_plain,
            ):
                gate.offer(at_the_gate, times=5)
                plain.offer(at_plain, times=5)
            healths = {health.camera: health for health in delivery.healths()}
            for name in ("door", "wrong"):
                await patiently(partial(told, name))
                assert healths[name].line is LineState.REFUSED
            refused.cancel()
            await asyncio.wait([refused])
    assert [await sequences(bus, name) for name in ("gate", "plain", "door", "wrong")] == [
        [1, 2, 3, 4, 5], [1, 2, 3, 4, 5], [], [],
    ]  # fmt: skip
    assert "'frames.door': permit it there" in healths["door"].last_error
    assert (
        "refuses the credentials; check nats_username and the password of camera 'wrong'" in healths["wrong"].last_error
    )
    assert not [line for line in lines if "of-somebody-else" in str(line)]
    assert ended(registry, "gate") == {"published": 5}


async def test_a_missing_credentials_file_and_a_user_without_an_inbox_are_named(tmp_path: Path) -> None:

    with pytest.raises(
        ConfigurationError, match=r"camera 'gate': nats_credentials_file: there is no file .*gate\.creds"
    ):
        cameras_login(camera("gate", nats_credentials_file=tmp_path / "gate.creds"))
    with pytest.raises(ConfigurationError, match=r"'at the gate' can't be a user at NATS"):
        cameras_login(camera("gate", nats_username="at the gate", nats_password="x"))


def test_the_users_of_the_docs_are_those_that_the_tests_use() -> None:
    (snippet,) = re.findall(r"```\nauthorization \{.*?\n```", PAGE.read_text(), re.DOTALL)
    for permissions in (agent_permissions("ingest"), camera_permissions("gate", "gate")):
        for subjects in permissions.values():
            assert json.dumps(subjects) in " ".join(snippet.split())


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "has no NATS USER JWT"),
        (b"-----BEGIN USER NKEY SEED-----\nSUAB\n", "has no NATS USER JWT"),
        (b"-----BEGIN NATS USER JWT-----\neyJ0\n", "has no USER NKEY SEED"),
        (b"-----BEGIN NATS USER JWT-----\n\xff", "can't be read: it isn't text"),
    ],
)
def test_a_file_that_holds_no_credentials_is_told_with_its_camera(tmp_path: Path, content: bytes, told: str) -> None:
    file = tmp_path / "gate.creds"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=rf"camera 'gate': nats_credentials_file: .*gate\.creds {told}"):
        cameras_login(camera("gate", nats_credentials_file=file))


def test_a_credentials_file_that_can_not_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"camera 'gate': .* can't be read: File name too long"):
        cameras_login(camera("gate", nats_credentials_file=tmp_path / ("g" * 300)))


def test_a_login_says_its_secrets_to_nobody() -> None:
    assert "hunter2" not in repr(Login("gate", "hunter2")) + repr(Login(credentials="hunter2"))


async def start_signed(supervisor: Supervisor, operator: Operator, folder: Path, port: int) -> None:
    """A server whose users are those that the operator signs for."""
    spec = nats_server(folder, port, CREDENTIALS)
    config = folder / "nats.conf"
    config.write_text(config.read_text().partition("authorization")[0] + operator.configuration())
    await supervisor.start(replace(spec, name="signed"))


async def test_a_damaged_seed_costs_its_own_camera_alone_and_until_the_file_is_whole(
    supervisor: Supervisor,
    tmp_path: Path,
    metrics: IngestMetrics,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lines, "_REFUSED_RETRY_SECONDS", 0.1)
    operator = Operator()
    port = free_port()
    url = f"nats://127.0.0.1:{port}"
    await start_signed(supervisor, operator, tmp_path / "nats", port)
    names = ("gate", "cut", "empty")
    files = {name: operator.write_credentials(tmp_path / f"{name}.creds") for name in names}
    whole = {name: file.read_text() for name, file in files.items()}
    seed = whole["cut"].splitlines()[-2]
    files["cut"].write_text(whole["cut"].replace(seed, seed[:20]))
    files["empty"].write_text(whole["empty"].partition(whole["empty"].splitlines()[-2])[0])
    cameras = {name: camera(name, nats_credentials_file=file) for name, file in files.items()}
    for name in names:
        metrics.start_camera(name)
    async with connect(url, name="tests", login=Login(credentials=whole["gate"])) as bus:
        await streams.ensure(bus, SIZES)
        async with delivering(settings(url), metrics) as delivery, AsyncExitStack() as stack:
            for name in names:
                Offering(name).offer(await stack.enter_async_context(delivery.publisher(cameras[name])))
            healths = {health.camera: health for health in delivery.healths()}
            for name in ("cut", "empty"):
                await patiently(lambda name=name: healths[name].line is LineState.REFUSED)  # type: ignore[misc]
                assert f"check nats_credentials_file of camera '{name}'" in healths[name].last_error
            await patiently(lambda: ended(registry, "gate") == {"published": 1})
            for name in names:
                files[name].write_text(whole[name])
        for name in names:
            assert await sequences(bus, name) == [1]
    await supervisor.stop("signed")


async def test_credentials_that_changed_with_the_server_are_read_anew(
    supervisor: Supervisor, tmp_path: Path, metrics: IngestMetrics
) -> None:
    port = free_port()
    url = f"nats://127.0.0.1:{port}"
    file = tmp_path / "gate.creds"
    gate = Offering("gate")
    metrics.start_camera("gate")
    async with AsyncExitStack() as stack:
        for number in (1, 2):
            operator = Operator()
            everything = operator.write_credentials(file).read_text()
            await start_signed(supervisor, operator, tmp_path / f"nats-{number}", port)
            async with connect(url, name="tests", login=Login(credentials=everything)) as bus:
                await streams.ensure(bus, SIZES)
                if number == 1:
                    delivery = await stack.enter_async_context(delivering(settings(url), metrics))
                    own = camera("gate", nats_credentials_file=file)
                    publisher = await stack.enter_async_context(delivery.publisher(own))
                gate.offer(publisher)
                await patiently(partial(arrived, bus, 1))
                assert await sequences(bus, "gate") == [number]
            await supervisor.stop("signed")


async def test_a_credentials_file_lets_a_camera_send_its_frames_and_no_others(
    supervisor: Supervisor, tmp_path: Path, metrics: IngestMetrics, registry: CollectorRegistry
) -> None:
    """With a server whose users are not in its configuration, but signed for."""
    operator = Operator()
    port = free_port()
    await start_signed(supervisor, operator, tmp_path / "nats", port)
    everything = operator.write_credentials(tmp_path / "all.creds")
    file = operator.write_credentials(tmp_path / "gate.creds", camera_permissions("gate", "gate"))
    own = {"nats_credentials_file": file}
    gate, door = Offering("gate"), Offering("door")
    for name in ("gate", "door"):
        metrics.start_camera(name)
    url = f"nats://127.0.0.1:{port}"
    async with connect(url, name="tests", login=Login(credentials=everything.read_text())) as bus:
        await streams.ensure(bus, SIZES)
        async with delivering(settings(url), metrics) as delivery:
            async with delivery.publisher(camera("gate", **own)) as publisher:
                gate.offer(publisher, times=3)
            cut = asyncio.create_task(offered_at_the_door(delivery, camera("door", **own), door))
            await patiently(lambda: delivery.healths()[-1].line is LineState.REFUSED)
            cut.cancel()
            await asyncio.wait([cut])
        assert await sequences(bus, "gate") == [1, 2, 3]
        assert await sequences(bus, "door") == []
    await supervisor.stop("signed")


async def offered_at_the_door(delivery: Delivery, door: CameraSettings, offering: Offering) -> None:
    async with delivery.publisher(door) as publisher:
        offering.offer(publisher)
