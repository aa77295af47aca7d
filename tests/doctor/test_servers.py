"""The checks of NATS, S3, the gateway and services, on real servers with each fault caused."""

import asyncio
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme
from aiohttp import web
from prometheus_client import CollectorRegistry

from framemesh.bus import Bus, connect
from framemesh.doctor import clocks, gateway, sockets
from framemesh.doctor import nats as doctor
from framemesh.doctor import s3 as store
from framemesh.doctor.findings import Finding, State
from framemesh.doctor.nats import Server
from framemesh.frames import FrameId, headers
from framemesh.lake import Lake
from framemesh.mesh.servers import HOST, free_port, nats_server, nats_url, program
from framemesh.mesh.supervision import ProcessSpec, Supervisor
from framemesh.rpc.server import Connections, serving
from framemesh.rpc.tls import ServerCertificate
from framemesh.telemetry.page import serving_page
from framemesh.v1.status_service_pb2 import GetStatusResponse
from tests.certificates import Pair, issue
from tests.conftest import CREDENTIALS
from tests.doctor.conftest import AGENT
from tests.gateway.conftest import until
from tests.pictures import jpeg

HERE = datetime.now(UTC)


def told(finding: Finding | None, state: State, words: str) -> None:
    """The finding says this, and where it isn't fine, how to mend it."""
    assert finding is not None
    assert finding.state is state, finding
    assert words in finding.found, finding
    assert bool(finding.mend) == (state is not State.FINE), finding


@asynccontextmanager
async def page(
    status: int = 200, text: str = "", headers: dict[str, str] | None = None, pair: Pair | None = None
) -> AsyncIterator[int]:
    """A web server on this machine that answers everything so; its port."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text=text, headers=headers)

    app = web.Application()
    app.router.add_route("*", "/{any:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    context = None
    if pair is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pair.cert, pair.key)
    await web.TCPSite(runner, HOST, 0, ssl_context=context).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def aging(folder: Path, days: float) -> Pair:
    """A certificate that ends in so many days."""
    pair = Pair(folder / "tls.crt", folder / "tls.key", folder / "ca.crt")
    authority = trustme.CA()
    now = datetime.now(UTC)
    issued = authority.issue_cert(HOST, not_before=now - timedelta(days=99), not_after=now + timedelta(days=days))
    pair.cert.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    pair.key.write_bytes(issued.private_key_pem.bytes())
    authority.cert_pem.write_to_path(str(pair.ca))
    return pair


@asynccontextmanager
async def started(supervisor: Supervisor, name: str, folder: Path, config: str) -> AsyncIterator[Server]:
    """A NATS server with this configuration."""
    port = free_port()
    (folder / f"{name}.conf").write_text(f'listen: "{HOST}:{port}"\n{config}\n')

    async def ready() -> bool:
        return sockets.listening("", HOST, port, "").state is State.FINE

    argv = (program("nats-server"), "-c", str(folder / f"{name}.conf"))
    await supervisor.start(ProcessSpec(name, argv, {}, ready))
    try:
        yield Server(HOST, port, tls=False)
    finally:
        await supervisor.stop(name)


class TestSockets:
    def test_a_port_that_nobody_listens_on_is_told(self) -> None:
        told(sockets.listening("x", HOST, free_port(), "start it"), State.WRONG, "Connection refused")

    def test_a_name_that_leads_nowhere_is_told(self) -> None:
        told(sockets.listening("x", "no-such-host.invalid", 1, "start it"), State.WRONG, "leads nowhere")

    async def test_a_good_certificate_says_how_long_it_holds(self, tmp_path: Path) -> None:
        pair = issue(tmp_path)
        async with page(pair=pair) as port:
            found = await asyncio.to_thread(sockets.certificate, "x", HOST, port, ca_file=pair.ca)
        told(found, State.FINE, "days more")

    @pytest.mark.parametrize(
        ("days", "state", "words"), [(-1, State.WRONG, "expired"), (3, State.ADVICE, "ends on")], ids=["past", "soon"]
    )
    async def test_a_certificate_that_ends_is_told(self, days: float, state: State, words: str, tmp_path: Path) -> None:
        pair = aging(tmp_path, days)
        async with page(pair=pair) as port:
            found = await asyncio.to_thread(sockets.certificate, "x", HOST, port, ca_file=pair.ca)
        told(found, state, words)
        assert "renew" in found.mend

    async def test_a_certificate_for_another_name_is_told(self, tmp_path: Path) -> None:
        pair = issue(tmp_path, "elsewhere.example")
        async with page(pair=pair) as port:
            found = await asyncio.to_thread(sockets.certificate, "x", HOST, port, ca_file=pair.ca)
        told(found, State.WRONG, "not trusted")
        assert "name that stands in the certificate" in found.mend

    async def test_an_unknown_authority_is_told(self, tmp_path: Path) -> None:
        async with page(pair=issue(tmp_path)) as port:
            found = await asyncio.to_thread(sockets.certificate, "x", HOST, port)
        told(found, State.WRONG, "not trusted")
        assert "SSL_CERT_FILE" in found.mend

    async def test_a_server_in_plain_text_is_told(self) -> None:
        async with page() as port:
            found = await asyncio.to_thread(sockets.certificate, "x", HOST, port)
        told(found, State.WRONG, "did not speak TLS")

    def test_an_authoritys_file_that_is_not_there_is_told(self) -> None:
        told(sockets.certificate("x", HOST, 1, ca_file=Path("/nowhere.crt")), State.WRONG, "can't be read")


class TestClocks:
    @pytest.mark.parametrize(
        ("off", "state", "words"),
        [
            (0, State.FINE, "agrees"),
            (-1.5, State.FINE, "agrees"),  # a header of whole seconds
            (-8, State.ADVICE, "behind"),
            (10, State.ADVICE, "ahead of"),
            (7200, State.WRONG, "ahead of"),
        ],
    )
    def test_clocks_are_compared(self, off: float, state: State, words: str) -> None:
        there = HERE + timedelta(seconds=off)
        told(clocks.skew("x", "NATS", sent=HERE, there=there, came=HERE + timedelta(seconds=0.1)), state, words)


class TestNats:
    async def test_a_well_server_is_well(self, nats: str, bus: Bus) -> None:
        (server,) = doctor.servers(nats)
        told(doctor.reachable(server), State.FINE, "takes connections")
        found, info = doctor.greeting(server)
        told(found, State.FINE, "is NATS 2.")
        assert [check().state for check in doctor.checks_of(info)] == [State.FINE] * 3
        assert doctor.encryption(server, info) is None
        told(await doctor.permissions(bus), State.FINE, "may ask")
        told(await doctor.storage(bus), State.FINE, "streams take")
        found, frames = await doctor.stream_names(bus)
        told(found, State.FINE, "all streams")
        assert frames is not None
        told(doctor.backlog(frames), State.FINE, "wait to be stored")
        told(await doctor.clock(bus), State.FINE, "agrees")

    def test_several_servers_are_each_looked_at(self) -> None:
        assert doctor.servers("nats://u:p@a:1, tls://b") == [Server("a", 1, tls=False), Server("b", 4222, tls=True)]

    def test_servers_may_stand_there_without_a_scheme(self) -> None:
        assert doctor.servers("nats-1, nats-2:4333") == [
            Server("nats-1", 4222, tls=False), Server("nats-2", 4333, tls=False),
        ]  # fmt: skip

    @pytest.mark.parametrize(
        "url", ["nats://u:pass/word@a", "nats://u:1/pass@a", "nats://a:99999", "nats://[a", "nats://u:pass@", "a,"]
    )
    def test_an_address_that_is_none_is_told_without_the_password(self, url: str) -> None:
        found = doctor.well_formed(url)
        told(found, State.WRONG, "no address")
        assert "pass" not in found.found

    async def test_another_server_on_the_port_is_told(self) -> None:
        async with page() as port:
            found, info = await asyncio.to_thread(doctor.greeting, Server(HOST, port, tls=False))
        assert found.state is State.WRONG
        assert info == {}

    async def test_a_server_without_streams_or_room_for_images_is_told(
        self, supervisor: Supervisor, tmp_path: Path
    ) -> None:
        async with started(supervisor, "bare", tmp_path, "") as server:
            _, info = await asyncio.to_thread(doctor.greeting, server)
        told(doctor.jetstream(info), State.WRONG, "switched off")
        told(doctor.payload(info), State.ADVICE, "up to 1.0 MiB")

    def test_an_old_server_is_told(self) -> None:
        told(doctor.version({"version": "2.10.22"}), State.WRONG, "before 2.10.23")
        told(doctor.version({"version": "2.12.0-RC.1"}), State.FINE, "2.12.0")

    async def test_tls_that_only_one_end_speaks_is_told(self, nats: str) -> None:
        (server,) = doctor.servers(nats)
        _, info = await asyncio.to_thread(doctor.greeting, server)
        told(doctor.encryption(Server(server.host, server.port, tls=True), info), State.WRONG, "has no TLS")

    async def test_an_expired_certificate_of_nats_is_told(self, supervisor: Supervisor, tmp_path: Path) -> None:
        pair = aging(tmp_path, -1)
        config = f'tls {{ cert_file: "{pair.cert}", key_file: "{pair.key}" }}'
        async with started(supervisor, "tls", tmp_path, config) as server:
            _, info = await asyncio.to_thread(doctor.greeting, server)
            found = await asyncio.to_thread(doctor.encryption, server, info)
        told(found, State.WRONG, "not trusted")

    async def test_a_camera_agents_user_is_told_apart(self, nats: str, bus: Bus) -> None:
        (server,) = doctor.servers(nats)
        async with connect(nats_url(server.port, AGENT), name="agent") as own:
            told(await doctor.permissions(own), State.ADVICE, "camera agent")

    async def test_streams_that_are_missing_or_full_are_told(self, supervisor: Supervisor, tmp_path: Path) -> None:
        port = free_port()
        await supervisor.start(
            ProcessSpec("fresh", (spec := nats_server(tmp_path / "nats", port, CREDENTIALS)).argv, {}, spec.ready)
        )
        try:
            async with connect(nats_url(port, CREDENTIALS), name="tests") as fresh:
                found, frames = await doctor.stream_names(fresh)
                told(found, State.ADVICE, "no stream FRAMES, STORED, RESULTS, SHADOWS, DEADLETTERS")
                assert frames is None
                await fresh.js.add_stream(name="FRAMES", subjects=["frames.*"], max_bytes=20_000)
                for filled, state in ((17_000, State.ADVICE), (2_500, State.WRONG)):
                    await fresh.js.publish("frames.gate", bytes(filled))
                    _, frames = await doctor.stream_names(fresh)
                    assert frames is not None
                    told(doctor.backlog(frames), state, "of 20 KiB")
        finally:
            await supervisor.stop("fresh")


class TestS3:
    async def test_a_well_server_is_well(self, lake: Lake, s3: dict[str, str]) -> None:
        endpoint = s3["FRAMEMESH_S3_ENDPOINT"]
        told(store.well_formed(endpoint), State.FINE, "is an endpoint")
        told(store.reachable(endpoint), State.FINE, "takes connections")
        assert store.encryption(endpoint) is None
        found, clock = await store.speaks_http(endpoint)
        told(found, State.FINE, endpoint)
        told(clock, State.FINE, "agrees")
        told(await store.credentials(lake, "frames"), State.FINE, "'frames'")
        told(await store.keeps(lake), State.FINE, "put, read and deleted")
        assert await lake.keys("") == []

    @pytest.mark.parametrize(
        "endpoint",
        [
            "s3:9000",
            "ftp://s3",
            "http://",
            "http://user:pass@s3:9000",
            "http://s3/x",
            "http://user:pass/word@s3",
            "http://s3:99999",
        ],
    )
    def test_an_endpoint_that_is_none_is_told(self, endpoint: str) -> None:
        found = store.well_formed(endpoint)
        assert found.state is State.WRONG
        assert "pass" not in found.found

    async def test_tls_that_only_one_end_speaks_is_told(self, s3: dict[str, str], tmp_path: Path) -> None:
        port = urlsplit(s3["FRAMEMESH_S3_ENDPOINT"]).port
        found = await asyncio.to_thread(store.encryption, f"https://{HOST}:{port}")
        told(found, State.WRONG, "did not speak TLS")
        async with page(pair=issue(tmp_path)) as port:
            found, _ = await store.speaks_http(f"http://{HOST}:{port}")
        told(found, State.WRONG, "does not answer HTTP")
        async with page(400, "Client sent an HTTP request to an HTTPS server.") as port:  # as servers in Go say it
            found, _ = await store.speaks_http(f"http://{HOST}:{port}")
        told(found, State.WRONG, "wants TLS")

    async def test_a_server_whose_clock_is_off_is_told(self) -> None:
        late = format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True)
        async with page(headers={"Date": late}) as port:
            _, clock = await store.speaks_http(f"http://{HOST}:{port}")
        told(clock, State.WRONG, "behind")
        async with page(headers={"Date": "half past nine"}) as port:
            found, clock = await store.speaks_http(f"http://{HOST}:{port}")
        told(found, State.FINE, str(port))
        assert clock is None

    async def test_keys_that_are_refused_and_buckets_that_are_not_there_are_told(self, s3: dict[str, str]) -> None:
        told(await store.credentials(_lake(s3, secret="not-the-key"), "frames"), State.WRONG, "status 403")
        told(await store.credentials(_lake(s3, bucket="absent"), "absent"), State.ADVICE, "no bucket 'absent'")

    async def test_objects_that_can_not_be_kept_are_told(self, s3: dict[str, str]) -> None:
        told(await store.keeps(_lake(s3, bucket="absent")), State.WRONG, "could not put")


def _lake(s3: dict[str, str], *, secret: str = "", bucket: str = "frames") -> Lake:
    return Lake(
        s3["FRAMEMESH_S3_ENDPOINT"],
        access_key=s3["FRAMEMESH_S3_ACCESS_KEY"],
        secret_key=secret or s3["FRAMEMESH_S3_SECRET_KEY"],
        region="us-east-1",
        bucket=bucket,
        requests=1,
    )


class TestGateway:
    async def test_a_well_gateway_is_well(self, address: str) -> None:
        found, status = await gateway.answers(address, token="", tls=None)
        told(found, State.FINE, "answers")
        assert status is not None
        told(gateway.problems(status)[0], State.FINE, "nothing wrong")
        told(gateway.future_cameras(status), State.FINE, "no frame")

    async def test_a_gateway_that_speaks_tls_is_told_to_whoever_does_not(self, tmp_path: Path) -> None:
        pair = issue(tmp_path)
        secured = Connections(credentials=ServerCertificate(pair.cert, pair.key).credentials())
        async with serving(f"{HOST}:0", {}, drain_seconds=0, connections=secured) as server:
            found, status = await gateway.answers(f"{HOST}:{server.port}", token="", tls=None)
            certified = await asyncio.to_thread(gateway.encryption, HOST, server.port, pair.ca)
        told(found, State.WRONG, "did not answer")
        assert "https://" in found.mend
        assert status is None
        told(certified, State.FINE, "days more")

    async def test_what_the_gateway_finds_wrong_is_told(self) -> None:
        (found,) = gateway.problems(GetStatusResponse(problems=["frames wait"]))
        told(found, State.WRONG, "frames wait")

    async def test_a_camera_whose_clock_is_ahead_is_told(self, address: str, bus: Bus) -> None:
        ahead = int((datetime.now(UTC) + timedelta(hours=3)).timestamp()) * 1_000_000_000
        words = headers(FrameId("early", ahead), content_type="image/jpeg", width_px=64, height_px=48, sequence=1)
        await bus.publish("frames.early", jpeg(), words, timeout=10)

        async def stored() -> GetStatusResponse | None:
            _, status = await gateway.answers(address, token="", tls=None)
            assert status is not None
            return status if any(one.HasField("newest_frame") for one in status.cameras) else None

        told(gateway.future_cameras(await until(stored, seconds=60)), State.WRONG, "early by 180 min")

    async def test_services_that_are_ill_or_gone_are_told(self) -> None:
        for checks, warnings, state, words in (
            ({"nats": lambda: "not connected"}, {}, State.WRONG, "nats: not connected"),
            ({}, {"file": lambda: "not read"}, State.ADVICE, "file: not read"),
            ({}, {}, State.FINE, "healthy"),
        ):
            async with serving_page(f"{HOST}:0", CollectorRegistry(), checks, warnings) as port:
                told(await gateway.service("ingest", f"{HOST}:{port}"), state, words)
        told(await gateway.service("ingest", f"{HOST}:{port}"), State.WRONG, "does not answer")

    def test_processes_that_are_gone_are_told(self) -> None:
        done = subprocess.Popen([sys.executable, "-c", ""])
        done.wait()
        told(gateway.processes({"mesh": os.getpid()}), State.FINE, "all 1 run")
        told(gateway.processes({"mesh": os.getpid(), "archiver": done.pid}), State.WRONG, "no longer there: archiver")
