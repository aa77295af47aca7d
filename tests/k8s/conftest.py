"""What the overlays render to, and NATS and the lake started from that."""

import pytest

from framemesh.mesh.servers import HOST, free_port
from framemesh.mesh.supervision import Supervisor
from tests.k8s.rendering import Object, render
from tests.k8s.servers import Secrets, fresh_secrets, lake_server, nats_server


@pytest.fixture(scope="session")
def local() -> list[Object]:
    return render("overlays/local")


@pytest.fixture(scope="session")
def production() -> list[Object]:
    return render("overlays/production")


@pytest.fixture(scope="module")
async def environments(
    local: list[Object], supervisor: Supervisor, tmp_path_factory: pytest.TempPathFactory
) -> Secrets:
    """The variables of each service, from the Secrets, with NATS and the lake of the overlay `local` behind them."""
    secrets, folder = fresh_secrets(), tmp_path_factory.mktemp("cluster")
    nats_port, s3_port = free_port(), free_port()
    await supervisor.start(nats_server(local, secrets, folder / "nats", nats_port))
    await supervisor.start(lake_server(local, secrets, folder / "s3", s3_port))
    return {
        service: {
            **{name: value.replace("@nats:4222", f"@{HOST}:{nats_port}") for name, value in variables.items()},
            "FRAMEMESH_S3_ENDPOINT": f"http://{HOST}:{s3_port}",
        }
        for service, variables in secrets.items()
    }
