"""Servers for the doctor to look at, well ones; the tests make the ill ones."""

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from framemesh.mesh.servers import HOST, Credentials, agent_permissions, free_port, nats_server, nats_url
from framemesh.mesh.supervision import Supervisor
from gateway.app import gateway
from gateway.settings import GatewaySettings
from tests.conftest import CREDENTIALS, SIZES

AGENT = Credentials("agent", "the-agents-password")


@pytest.fixture(scope="module")
async def nats(supervisor: Supervisor, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A server that also knows a camera agent."""
    port = free_port()
    others = {AGENT: agent_permissions(AGENT.user)}
    await supervisor.start(nats_server(tmp_path_factory.mktemp("nats"), port, CREDENTIALS, others=others))
    return nats_url(port, CREDENTIALS)


@pytest.fixture(scope="module")
async def address(nats: str, s3: dict[str, str]) -> AsyncIterator[str]:
    """Where a gateway answers."""
    settings = GatewaySettings(
        nats_url=SecretStr(nats),
        s3_endpoint=s3["FRAMEMESH_S3_ENDPOINT"],
        s3_access_key=SecretStr(s3["FRAMEMESH_S3_ACCESS_KEY"]),
        s3_secret_key=SecretStr(s3["FRAMEMESH_S3_SECRET_KEY"]),
        frames_stream_bytes=SIZES.frames_bytes,
        drain_seconds=5,
    )
    async with gateway(settings) as running:
        yield f"{HOST}:{running.grpc_port}"
