"""The gateway and the services: whether they answer, and what they themselves find wrong."""

from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import psutil

from framemesh.client import AsyncClient
from framemesh.doctor import sockets
from framemesh.doctor.findings import Finding, advice, fine, wrong
from framemesh.errors import (
    ConfigurationError,
    FramemeshError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from framemesh.rpc.channels import Tls
from framemesh.v1.status_service_pb2 import GetStatusResponse
from framemesh.words import span

_FUTURE_SECONDS = 5.0
_ASK_SECONDS = 5.0


def reachable(host: str, port: int) -> Finding:
    """Whether its port takes connections."""
    return sockets.listening("gateway", host, port, "start a gateway, or correct FRAMEMESH_ADDRESS")


def encryption(host: str, port: int, ca_file: Path | None) -> Finding:
    """What its certificate is worth."""
    return sockets.certificate("gateway TLS", host, port, ca_file=ca_file)


async def answers(address: str, *, token: str, tls: Tls) -> tuple[Finding, GetStatusResponse | None]:
    """Whether it lets us in, and what it says of the mesh."""
    try:
        async with AsyncClient(address, token=token or None, tls=tls) as client:
            found = await client.status(timeout=_ASK_SECONDS)
    except UnauthenticatedError:
        what = "does not know the token" if token else "wants a token"
        return wrong("gateway", f"{address} {what}", "set FRAMEMESH_TOKEN to one of its tokens file"), None
    except PermissionDeniedError as error:
        return wrong("gateway", str(error), "set FRAMEMESH_TOKEN to one with the role `read`"), None
    except ConfigurationError as error:
        return wrong("gateway", f"{address} can't be called as it is named", str(error)), None
    except FramemeshError as error:
        return wrong(
            "gateway", f"{address} did not answer: {error}", "write https:// where it speaks TLS; see its log"
        ), None
    return fine("gateway", f"{address} answers"), found


def problems(status: GetStatusResponse) -> list[Finding]:
    """What the gateway itself finds wrong."""
    mend = "`framemesh status` has the numbers beside it"
    return [wrong("mesh", words, mend) for words in status.problems] or [
        fine("mesh", "the gateway finds nothing wrong")
    ]


def future_cameras(status: GetStatusResponse, now: datetime | None = None) -> Finding:
    """Whether a camera's clock is ahead: its frames would pass for the newest for as long."""
    here = now or datetime.now(UTC)
    ahead = {
        camera.camera: seconds
        for camera in status.cameras
        if camera.HasField("newest_frame")
        and (seconds := (camera.newest_frame.frame.capture_time.ToDatetime(UTC) - here).total_seconds())
        > _FUTURE_SECONDS
    }
    if ahead:
        words = ", ".join(f"{name} by {span(seconds)}" for name, seconds in ahead.items())
        return wrong("camera clocks", f"frames were taken in the future: {words}", "set the cameras' clocks by NTP")
    return fine("camera clocks", "no frame was taken in the future")


async def service(name: str, address: str) -> Finding:
    """What a service's own health page says."""
    check = f"service {name}"
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ASK_SECONDS)) as session,
            session.get(f"http://{address}/healthz") as response,
        ):
            text = "; ".join((await response.text()).split("\n")).strip("; ")
    except (aiohttp.ClientError, TimeoutError) as error:
        return wrong(
            check, f"{address} does not answer: {type(error).__name__}", f"see {name}.log in the data directory"
        )
    if response.status != 200:
        return wrong(check, f"it says {text}", f"see {name}.log in the data directory")
    if text != "ok":
        return advice(check, f"it says {text}", f"see {name}.log in the data directory")
    return fine(check, "it is healthy")


def processes(pids: dict[str, int]) -> Finding:
    """Whether the processes of the mesh are there."""
    gone = [name for name, pid in pids.items() if not psutil.pid_exists(pid)]
    if gone:
        mend = "where `framemesh up` still runs it starts them again; else start it"
        return wrong("processes", f"no longer there: {', '.join(sorted(gone))}", mend)
    return fine("processes", f"all {len(pids)} run")
