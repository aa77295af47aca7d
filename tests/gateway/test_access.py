"""Tokens, roles and TLS on a real gateway."""

import asyncio
import importlib
import pkgutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

import framemesh.v1
from framemesh.bus import Bus
from framemesh.client import AsyncClient, Client
from framemesh.errors import (
    ConfigurationError,
    FramemeshError,
    InvalidImageError,
    ModelNotFoundError,
    ModelUnavailableError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from framemesh.rpc.channels import open_channel
from framemesh.rpc.server import Connections
from framemesh.rpc.status import from_rpc_error
from framemesh.rpc.tls import ServerCertificate
from framemesh.specs import parse
from framemesh.v1.analysis_service_pb2 import AnalyzeStreamRequest
from framemesh.v1.model_service_pb2 import ListModelsRequest
from framemesh.v1.model_service_pb2_grpc import ModelServiceStub
from gateway import door
from gateway.access import ROLES
from gateway.app import Gateway, gateway
from gateway.metrics import GatewayMetrics
from gateway.room import Room
from gateway.settings import GatewaySettings
from tests.certificates import issue
from tests.gateway.conftest import publish, serving_model, until
from tests.gateway.test_api import get
from tests.gateway.test_room import metric
from tests.pictures import jpeg

READER, ANALYST, ADMIN, STRANGER = (letter * 32 for letter in "raos")


def entry(name: str, role: str, token: str) -> str:
    return f'[{name}]\nrole = "{role}"\ntoken = "{token}"\n'


ALL = entry("board", "read", READER) + entry("app", "analyse", ANALYST) + entry("ops", "admin", ADMIN)


@pytest.fixture
def tokens_file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens.toml"
    path.write_text(ALL)
    return path


@pytest.fixture
async def guarded(settings: GatewaySettings, tokens_file: Path) -> AsyncIterator[Gateway]:
    """A gateway that wants tokens."""
    async with gateway(settings.model_copy(update={"tokens_file": tokens_file})) as running:
        yield running


@asynccontextmanager
async def bearing(running: Gateway, token: str | None) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(f"127.0.0.1:{running.grpc_port}", token=token) as client:
        yield client


def test_every_method_of_our_services_has_a_role() -> None:
    modules = [
        importlib.import_module(f"framemesh.v1.{found.name}") for found in pkgutil.iter_modules(framemesh.v1.__path__)
    ]
    descriptors = [module.DESCRIPTOR for module in modules if hasattr(module, "DESCRIPTOR")]
    methods = {
        f"/{service.full_name}/{method.name}"
        for descriptor in descriptors
        for service in descriptor.services_by_name.values()
        if service.name != "InferenceService"  # served by model servers, to the gateway alone
        for method in service.methods
    }
    assert len(methods) >= 8
    assert methods == set(ROLES), "give each method of a service its least role in gateway/access.py"


CALLS: dict[str, Any] = {
    "models": lambda client: client.models(),
    "watch": lambda client: anext(client.watch_models()),
    "analyze": lambda client: client.analyze(b"text"),
    "stream": lambda client: anext(client.analyze_stream([("one", b"text")])),
    "deploy": lambda client: client.deploy(parse("denied=x,replicas=0")),
    "scale": lambda client: client.scale("nonesuch", 1),
    "delete": lambda client: client.delete("nonesuch"),
}


@pytest.mark.parametrize(
    ("token", "allowed"),
    [
        (READER, {"models", "watch"}),
        (ANALYST, {"models", "watch", "analyze", "stream"}),
        (ADMIN, set(CALLS)),
    ],
)
async def test_a_role_may_do_what_it_says_and_no_more(guarded: Gateway, token: str, allowed: set[str]) -> None:
    denied: dict[str, str] = {}
    async with bearing(guarded, token) as client:
        for name, call in CALLS.items():
            try:
                await call(client)
            except PermissionDeniedError as error:
                denied[name] = str(error)
            except (InvalidImageError, ModelNotFoundError):
                pass  # the call itself got in
        if token == ADMIN:
            await until(lambda: has(client, "denied"))
            await client.delete("denied")
    assert set(denied) == set(CALLS) - allowed
    for words in denied.values():
        assert "another token" in words
        assert token not in words


@pytest.mark.parametrize(
    "metadata",
    [
        (),
        (("authorization", f"Bearer {STRANGER}"),),
        (("authorization", ADMIN),),
        (("authorization", f"Basic {ADMIN}"),),
        (("authorization", f"Bearer {ADMIN[:-1]}"),),
        (("authorization", "Bearer "),),
        (("authorization", f"Bearer {ADMIN}"), ("authorization", f"Bearer {ADMIN}")),
        (("token", ADMIN),),
    ],
)
async def test_without_a_known_token_nothing_is_told_but_what_to_do(
    guarded: Gateway, metadata: tuple[tuple[str, str], ...]
) -> None:
    async with open_channel(f"127.0.0.1:{guarded.grpc_port}") as channel:
        with pytest.raises(grpc.RpcError) as caught:
            await ModelServiceStub(channel).ListModels(ListModelsRequest(), metadata=metadata, timeout=10)
    error = from_rpc_error(caught.value)
    assert isinstance(error, UnauthenticatedError)
    assert "authorization: Bearer" in str(error)
    assert ADMIN[:-1] not in str(error)
    assert STRANGER not in str(error)


async def test_the_scheme_may_be_written_in_any_case(guarded: Gateway) -> None:
    async with open_channel(f"127.0.0.1:{guarded.grpc_port}") as channel:
        metadata = (("authorization", f"bearer {READER}"),)
        await ModelServiceStub(channel).ListModels(ListModelsRequest(), metadata=metadata, timeout=10)


async def test_health_and_reflection_are_open(guarded: Gateway) -> None:
    async with open_channel(f"127.0.0.1:{guarded.grpc_port}") as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        reflection: Any = reflection_pb2_grpc.ServerReflectionStub(channel)  # type: ignore[arg-type]
        asking = reflection.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        names = {service.name for service in (await asking.read()).list_services_response.service}
        assert "framemesh.v1.AnalysisService" in names


async def test_a_method_without_a_role_is_open_to_nobody(guarded: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(ROLES, "/framemesh.v1.ModelService/ListModels")
    async with bearing(guarded, ADMIN) as client:
        with pytest.raises(PermissionDeniedError, match="no token has"):
            await client.models()


async def test_a_token_taken_back_is_denied_at_once_and_its_streams_end(
    guarded: Gateway, tokens_file: Path, bus: Bus
) -> None:
    async with bearing(guarded, ADMIN) as admin, bearing(guarded, READER) as reader, serving_model(bus, "seen"):
        await admin.deploy(parse("seen=x,policy=every"))
        watching = reader.watch_results(models=["seen"])
        first: asyncio.Task[Any] = asyncio.create_task(anext(watching))  # type: ignore[arg-type]
        while not first.done():
            await publish(bus, "yard", jpeg(1))
            await asyncio.sleep(0.1)
        tokens_file.write_text(entry("ops", "admin", ADMIN) + entry("new", "read", STRANGER))
        with pytest.raises(UnauthenticatedError, match="taken back"):
            await reader.models()
        async with bearing(guarded, STRANGER) as new:
            assert await new.models()
        reading = asyncio.create_task(read_on(watching))  # what was under way may still come
        while not reading.done():
            await publish(bus, "yard", jpeg(2))
            await asyncio.sleep(0.1)
        with pytest.raises(UnauthenticatedError):
            await reading
        await admin.delete("seen")


async def test_a_token_taken_back_ends_the_stream_at_its_next_image(guarded: Gateway, tokens_file: Path) -> None:
    async with bearing(guarded, ANALYST) as client:
        stream = client._analysis.AnalyzeStream()
        await stream.write(AnalyzeStreamRequest(request_id="before"))
        assert await stream.read() != grpc.aio.EOF
        tokens_file.write_text(entry("ops", "admin", ADMIN))
        await stream.write(AnalyzeStreamRequest(request_id="after"))
        with pytest.raises(grpc.RpcError) as caught:
            await stream.read()
    assert isinstance(from_rpc_error(caught.value), UnauthenticatedError)


async def read_on(watching: AsyncIterator[Any]) -> None:
    async for _ in watching:
        pass


async def test_a_file_that_is_spoilt_leaves_the_tokens_of_before(guarded: Gateway, tokens_file: Path) -> None:
    async with bearing(guarded, READER) as reader:
        with capture_logs() as logs:
            for spoilt in ("[board", entry("board", "reader", READER), None):
                if spoilt is None:
                    tokens_file.unlink()
                else:
                    tokens_file.write_text(spoilt)
                await reader.models()
                await reader.models()
        assert [line["event"] for line in logs if line["log_level"] == "error"] == ["files.unusable"] * 3
        tokens_file.write_text("")
        with pytest.raises(UnauthenticatedError):
            await reader.models()


async def test_who_was_denied_or_deployed_is_logged_by_the_tokens_name_and_never_by_the_token(guarded: Gateway) -> None:
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        async with bearing(guarded, ADMIN) as admin:
            await admin.deploy(parse("logged=some/model,replicas=0"))
            await until(lambda: has(admin, "logged"))
            await admin.scale("logged", 0)
            await admin.delete("logged")
        for token in (READER, STRANGER, None):
            async with bearing(guarded, token) as client:
                with pytest.raises(FramemeshError):
                    await client.delete("logged")
    told = [(line["event"], line.get("token")) for line in logs if line["event"].startswith(("model.", "call."))]
    assert told == [
        ("model.deployed", "ops"),
        ("model.scaled", "ops"),
        ("model.deleted", "ops"),
        ("call.denied", "board"),
        ("call.denied", None),
        ("call.denied", None),
    ]
    assert not any(token in str(logs) for token in (READER, ADMIN, STRANGER))
    page = await asyncio.to_thread(get, f"http://127.0.0.1:{guarded.http_port}/metrics")
    assert 'framemesh_gateway_denied_calls_total{reason="PERMISSION_DENIED"} 1.0' in page
    assert 'framemesh_gateway_denied_calls_total{reason="UNAUTHENTICATED"} 2.0' in page


async def has(client: AsyncClient, name: str) -> bool:
    return any(model.spec.name == name for model in await client.models())


def connections(settings: GatewaySettings) -> Connections:
    return door.connections(settings, GatewayMetrics(CollectorRegistry()))


def test_tokens_in_plain_text_are_not_taken_from_other_machines_unless_told_so(
    settings: GatewaySettings, tokens_file: Path, tmp_path: Path
) -> None:
    public = {"tokens_file": tokens_file, "grpc_address": "0.0.0.0:50051"}
    with pytest.raises(ConfigurationError, match="FRAMEMESH_TLS_CERT_FILE"):
        connections(settings.model_copy(update=public))
    pair = issue(tmp_path)
    for safe in ({"tokens_in_plain_text": True}, {"tls_cert_file": pair.cert, "tls_key_file": pair.key}):
        connections(settings.model_copy(update={**public, **safe}))


def test_a_door_without_tokens_that_others_reach_is_warned_of(settings: GatewaySettings) -> None:
    with capture_logs() as logs:
        connections(settings)
        connections(settings.model_copy(update={"grpc_address": "0.0.0.0:50051"}))
    assert [(line["event"], line["log_level"], line["address"]) for line in logs] == [
        ("door.open", "warning", "0.0.0.0:50051")
    ]


def test_half_a_pair_is_refused(settings: GatewaySettings, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="both"):
        connections(settings.model_copy(update={"tls_cert_file": issue(tmp_path).cert}))


def test_tokens_that_cannot_be_used_are_refused_at_the_start(settings: GatewaySettings, tokens_file: Path) -> None:
    tokens_file.write_text(entry("board", "reader", READER))
    metrics = GatewayMetrics(CollectorRegistry())
    with pytest.raises(ConfigurationError, match=r"\[board\]"):
        door.admission(settings.model_copy(update={"tokens_file": tokens_file}), Room(1, 1, metrics), metrics)


async def test_both_clients_speak_tls_and_bring_a_token(
    settings: GatewaySettings, tokens_file: Path, tmp_path: Path
) -> None:
    pair = issue(tmp_path)
    secure = {"tokens_file": tokens_file, "tls_cert_file": pair.cert, "tls_key_file": pair.key}
    async with gateway(settings.model_copy(update=secure)) as running:
        address = f"127.0.0.1:{running.grpc_port}"

        def use() -> None:
            with Client(address, token=ANALYST, tls=pair.ca) as client:
                client.models()
                (response,) = client.analyze_stream([("one", b"text")])
                assert response.error.reason == "INVALID_IMAGE"
            with Client(address, token=ANALYST) as client, pytest.raises(ModelUnavailableError, match="may want TLS"):
                client.models()
            with Client(address, tls=pair.ca) as client, pytest.raises(UnauthenticatedError, match="FRAMEMESH_TOKEN"):
                client.models()

        await asyncio.to_thread(use)
        page = f"http://127.0.0.1:{running.http_port}/metrics"
        ends = await metric(page, "framemesh_gateway_certificate_expiry_timestamp_seconds")
        assert ends == ServerCertificate(pair.cert, pair.key).expiry()
        async with AsyncClient(address, token=ANALYST, tls=pair.ca) as client:
            await client.models()
            assert [r.request_id async for r in client.analyze_stream([("one", b"text")])] == ["one"]
