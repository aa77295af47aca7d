"""The services as processes of the mesh: their programs, variables and signs of readiness."""

import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

import aiohttp
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from framemesh.errors import ConfigurationError
from framemesh.mesh.cameras import Cameras
from framemesh.mesh.demo import SOURCES
from framemesh.mesh.servers import HOST
from framemesh.mesh.supervision import ProcessSpec
from framemesh.rpc.channels import open_channel
from framemesh.specs import LAKE, precision_text, runtime_text
from framemesh.v1.model_pb2 import ModelSpec

_SERVICES = ("archiver", "console", "deployer", "gateway", "ingest", "model_server")
_PREPARE_SECONDS = 1800.0
_ASK_SECONDS = 1.0
_DRAIN_SECONDS = 60.0
"""For the deployer to end the model servers, which have 30 s each."""


def check_services() -> None:
    """Pass where the services can be started.

    Raises:
        ConfigurationError: Only the client library is installed.
    """
    missing = [name for name in _SERVICES if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"the services ({', '.join(missing)}) are not here: they come with the repository. "
            "Clone it and run `make demo`, or `pip install -e '.[mesh]'` in it"
        )


def gateway(
    env: Mapping[str, str], *, grpc_port: int, http_port: int, drain_seconds: float, tls: Path | None = None
) -> ProcessSpec:
    """The gateway; `env` says where NATS and S3 are, `tls` what to trust of it where it speaks TLS."""
    own = {
        "FRAMEMESH_GRPC_ADDRESS": f"{HOST}:{grpc_port}",
        "FRAMEMESH_HTTP_ADDRESS": f"{HOST}:{http_port}",
        "FRAMEMESH_DRAIN_SECONDS": str(drain_seconds),
    }
    return _service("gateway", "gateway", {**env, **own}, _serves_grpc(grpc_port, tls=tls))


def archiver(env: Mapping[str, str], *, http_port: int) -> ProcessSpec:
    """What turns streams into tables; `env` says where NATS and S3 are."""
    return _service(
        "archiver", "archiver", {**env, "FRAMEMESH_HTTP_ADDRESS": f"{HOST}:{http_port}"}, _is_healthy(http_port)
    )


def model_server(
    env: Mapping[str, str], spec: ModelSpec, replica: int, *, cache: Path, grpc_port: int, http_port: int
) -> ProcessSpec:
    """One server of a model. It may have to download and export the model first.

    Where S3 is it learns only if the model comes from the lake.
    """
    lake = spec.source.startswith(LAKE)
    known = {name: value for name, value in env.items() if lake or name == "FRAMEMESH_NATS_URL"}
    own = {
        "FRAMEMESH_MODEL_NAME": spec.name,
        "FRAMEMESH_MODEL_SOURCE": spec.source,
        "FRAMEMESH_MODEL_REVISION": spec.revision,
        "FRAMEMESH_MODEL_TASK": spec.task,
        "FRAMEMESH_MODEL_RUNTIME": runtime_text(spec.runtime),
        "FRAMEMESH_MODEL_PRECISION": precision_text(spec.precision),
        "FRAMEMESH_MODEL_LABELS": json.dumps(list(spec.candidate_labels)),
        "FRAMEMESH_MODEL_CACHE": str(cache),
        "FRAMEMESH_REPLICA": str(replica),
        "FRAMEMESH_GRPC_ADDRESS": f"{HOST}:{grpc_port}",
        "FRAMEMESH_HTTP_ADDRESS": f"{HOST}:{http_port}",
    }
    return model_server_with({**known, **own})


def model_server_with(env: Mapping[str, str]) -> ProcessSpec:
    """The model server that has these variables, such as one that runs already."""
    return _service(
        model_process(env["FRAMEMESH_MODEL_NAME"], env["FRAMEMESH_REPLICA"]),
        "model_server",
        dict(env),
        _serves_grpc(int(env["FRAMEMESH_GRPC_ADDRESS"].rpartition(":")[2])),
        start_seconds=_PREPARE_SECONDS,
    )


def model_process(model: str, replica: int | str) -> str:
    """Name of a model server's process."""
    return f"model-{model}-{replica}"


def deployer(env: Mapping[str, str], data_dir: Path, *, http_port: int) -> ProcessSpec:
    """What starts and stops the model servers; `env` says where NATS and S3 are, which those are told too."""
    own = {
        "FRAMEMESH_DEPLOYER_BACKEND": "local",
        "FRAMEMESH_DATA_DIR": str(data_dir),
        "FRAMEMESH_HTTP_ADDRESS": f"{HOST}:{http_port}",
    }
    return _service("deployer", "deployer", {**env, **own}, _is_healthy(http_port), stop_seconds=_DRAIN_SECONDS)


def ingest(env: Mapping[str, str], cameras: Cameras, *, http_port: int) -> ProcessSpec:
    """The camera agent, with all cameras of this mesh; `env` says where NATS is, and where frames wait for it."""
    own = {**cameras.variables(), "FRAMEMESH_HTTP_ADDRESS": f"{HOST}:{http_port}"}
    return _service("ingest", "ingest", {**env, **own}, _is_healthy(http_port))


def console(env: Mapping[str, str], *, gateway: str, port: int, http_port: int, tls: Path | None = None) -> ProcessSpec:
    """The web UI; `env` says where NATS and S3 are, `gateway` where the gateway is.

    `tls` is what to trust of the gateway where it speaks TLS, as the console does then too.
    """
    own = {
        "FRAMEMESH_ADDRESS": f"https://{gateway}" if tls else gateway,
        "FRAMEMESH_TLS_CA_FILE": str(tls or ""),
        "FRAMEMESH_CONSOLE_ADDRESS": f"{HOST}:{port}",
        "FRAMEMESH_HTTP_ADDRESS": f"{HOST}:{http_port}",
    }
    if find_spec("demo") is not None:  # these need no hub
        own["FRAMEMESH_QUICK_MODELS"] = ",".join(SOURCES)
    return _service("console", "console", {**env, **own}, _is_healthy(http_port))


def _service(
    name: str,
    package: str,
    env: dict[str, str],
    ready: Callable[[], Awaitable[bool]],
    *,
    start_seconds: float = 60.0,
    stop_seconds: float = 30.0,
) -> ProcessSpec:
    argv = (sys.executable, "-m", package)
    return ProcessSpec(name, argv, env, ready, start_seconds=start_seconds, stop_seconds=stop_seconds)


def _serves_grpc(port: int, *, tls: Path | None = None) -> Callable[[], Awaitable[bool]]:
    async def ready() -> bool:
        async with open_channel(f"{HOST}:{port}", tls=tls) as channel:
            try:
                check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]  # its stub forgets it
                answer = await check(health_pb2.HealthCheckRequest(), timeout=_ASK_SECONDS)
            except grpc.RpcError:
                return False
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    return ready


def _is_healthy(port: int) -> Callable[[], Awaitable[bool]]:
    async def ready() -> bool:
        timeout = aiohttp.ClientTimeout(total=_ASK_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(f"http://{HOST}:{port}/healthz") as response,
            ):
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    return ready
