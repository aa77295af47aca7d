"""TLS between real gRPC servers and our channels."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from framemesh.errors import ConfigurationError, FramemeshError, ModelUnavailableError
from framemesh.rpc.channels import Tls, is_loopback, open_channel, open_sync_channel
from framemesh.rpc.server import Connections, serving
from framemesh.rpc.status import from_rpc_error
from framemesh.rpc.tls import ServerCertificate, WebCertificate
from framemesh.v1 import model_service_pb2 as pb2
from framemesh.v1 import model_service_pb2_grpc as pb2_grpc
from tests.certificates import Pair, issue


class Listing(pb2_grpc.ModelServiceServicer):
    async def ListModels(self, request: Any, context: Any) -> Any:  # noqa: N802
        return pb2.ListModelsResponse()


@asynccontextmanager
async def served(pair: Pair | None) -> AsyncIterator[int]:
    service = Listing()  # type: ignore[abstract]
    add = {"framemesh.v1.ModelService": lambda server: pb2_grpc.add_ModelServiceServicer_to_server(service, server)}
    connections = Connections(credentials=ServerCertificate(pair.cert, pair.key).credentials() if pair else None)
    async with serving("127.0.0.1:0", add, drain_seconds=0, connections=connections) as server:
        yield server.port


async def call(address: str, tls: Tls) -> None:
    """Ask over a new connection."""
    async with open_channel(address, tls=tls) as channel:
        try:
            await pb2_grpc.ModelServiceStub(channel).ListModels(pb2.ListModelsRequest(), timeout=10)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error


async def test_whoever_trusts_the_authority_gets_through(tmp_path: Path) -> None:
    pair = issue(tmp_path)
    async with served(pair) as port:
        await call(f"127.0.0.1:{port}", pair.ca)
        await call(f"127.0.0.1:{port}", pair.cert)  # the certificate itself is trust enough


@pytest.mark.parametrize(
    ("server_speaks_tls", "client", "host", "advice"),
    [
        (True, "plain", "127.0.0.1", "may want TLS"),
        (False, "right", "127.0.0.1", "without TLS"),
        (True, "other", "127.0.0.1", "name its CA"),
        (True, "public", "127.0.0.1", "name its CA"),
        (True, "right", "localhost", "other names"),
    ],
)
async def test_where_the_ends_disagree_the_caller_is_told_what_to_do(
    tmp_path: Path, client: str, host: str, advice: str, *, server_speaks_tls: bool
) -> None:
    pair = issue(tmp_path)
    (tmp_path / "other").mkdir()
    tls: dict[str, Tls] = {"plain": None, "right": pair.ca, "other": issue(tmp_path / "other").ca, "public": True}
    async with served(pair if server_speaks_tls else None) as port:
        with pytest.raises(ModelUnavailableError, match=advice):
            await call(f"{host}:{port}", tls[client])


async def test_a_renewed_certificate_is_taken_up_by_the_next_connection(tmp_path: Path) -> None:
    async with served(issue(tmp_path)) as port, open_channel(f"127.0.0.1:{port}", tls=tmp_path / "ca.crt") as channel:
        stub = pb2_grpc.ModelServiceStub(channel)
        await stub.ListModels(pb2.ListModelsRequest(), timeout=10)
        old = (tmp_path / "ca.crt").rename(tmp_path / "old.crt")
        renewed = issue(tmp_path)
        await call(f"127.0.0.1:{port}", renewed.ca)
        with pytest.raises(ModelUnavailableError, match="CA"):
            await call(f"127.0.0.1:{port}", old)
        await stub.ListModels(pb2.ListModelsRequest(), timeout=10)  # the connection of before goes on


async def test_a_pair_of_which_one_half_is_replaced_leaves_the_one_before(tmp_path: Path) -> None:
    pair = issue(tmp_path)
    (tmp_path / "next").mkdir()
    following = issue(tmp_path / "next")
    async with served(pair) as port:
        pair.cert.write_bytes(following.cert.read_bytes())
        await call(f"127.0.0.1:{port}", pair.ca)
        pair.key.unlink()
        await call(f"127.0.0.1:{port}", pair.ca)
        pair.key.write_bytes(following.key.read_bytes())
        await call(f"127.0.0.1:{port}", following.ca)


@pytest.mark.parametrize("kind", [ServerCertificate, WebCertificate])
def test_it_is_known_when_the_certificate_ends_that_is_served(
    tmp_path: Path, kind: type[ServerCertificate | WebCertificate]
) -> None:
    ends = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
    pair = issue(tmp_path, ends=ends)
    certificate = kind(pair.cert, pair.key)
    assert certificate.expiry() == ends.timestamp()
    issue(tmp_path, ends=ends + timedelta(days=90))
    assert certificate.expiry() == (ends + timedelta(days=90)).timestamp()


@pytest.mark.parametrize("wrong", ["missing", "not PEM", "of another"])
def test_a_pair_that_cannot_work_is_refused_at_the_start(tmp_path: Path, wrong: str) -> None:
    pair = issue(tmp_path)
    match wrong:
        case "missing":
            pair.key.unlink()
        case "not PEM":
            pair.cert.write_text("a certificate")
        case _:
            pair.key.write_bytes(issue(tmp_path).key.read_bytes())
            (tmp_path / "first").mkdir()
            pair.cert.write_bytes(issue(tmp_path / "first").cert.read_bytes())
    with pytest.raises(ConfigurationError, match=r"tls\.key"):
        ServerCertificate(pair.cert, pair.key)


TOKEN = "0123456789abcdef" * 2


@pytest.mark.parametrize("address", ["gateway:50051", "10.0.0.7:50051", "[2001:db8::1]:443", "dns:///gateway:50051"])
def test_a_token_does_not_leave_the_machine_in_plain_text_unless_told_so(address: str) -> None:
    with pytest.raises(ConfigurationError, match="plain text") as refusal:
        open_sync_channel(address, token=TOKEN)
    assert TOKEN not in str(refusal.value)
    for tls in (False, True):
        open_sync_channel(address, token=TOKEN, tls=tls).close()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "localhost:1", "[::1]:1", "unix:/run/gateway.sock"])
def test_this_machine_is_known_by_its_names(address: str) -> None:
    assert is_loopback(address)
    open_sync_channel(address, token=TOKEN).close()


@pytest.mark.parametrize("address", ["0.0.0.0:1", "[::]:1", "*:1", "gateway:1", "localhost.example.com:1", ":1"])
def test_what_others_may_reach_is_not_this_machine(address: str) -> None:
    assert not is_loopback(address)


@pytest.mark.parametrize("wrong", ["", "two words", "line\nbreak", '"quoted"', "tökén"])
def test_what_cannot_be_a_token_is_refused_without_repeating_it(wrong: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        open_sync_channel("127.0.0.1:1", token=wrong)
    assert not wrong or wrong not in str(refusal.value)


def test_a_ca_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FramemeshError, match=r"nowhere\.pem"):
        open_sync_channel("127.0.0.1:1", tls=tmp_path / "nowhere.pem")
