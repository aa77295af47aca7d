"""A second S3 server beside the one that `framemesh up` starts: what works on both is S3, and no store's habit."""

import json
from pathlib import Path

import aiohttp

from framemesh.mesh.servers import HOST, Credentials, free_port, program, s3_server
from framemesh.mesh.supervision import ProcessSpec

_MAX_VOLUMES = 20
_VOLUME_MB = 64


def seaweedfs_server(folder: Path, port: int, credentials: Credentials) -> ProcessSpec:
    """SeaweedFS with all its parts in one process, on files below the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    keys = [{"accessKey": credentials.user, "secretKey": credentials.password}]
    config = folder / "s3.json"
    config.write_text(json.dumps({"identities": [{"name": "tests", "credentials": keys, "actions": ["Admin"]}]}))
    ports = seaweedfs_ports()
    argv = (
        program("weed"), "-logtostderr", "server", f"-dir={folder}", f"-ip={HOST}", f"-ip.bind={HOST}",
        *(f"{flag}={number}" for flag, number in ports.items()),
        f"-master.volumeSizeLimitMB={_VOLUME_MB}", f"-volume.max={_MAX_VOLUMES}",
        "-master.electionTimeout=300ms", "-master.heartbeatInterval=100ms",  # else it is back 15 s after a kill
        "-s3", f"-s3.port={port}", f"-s3.port.grpc={free_port()}", "-s3.port.iceberg=0", "-s3.port.lance=0",
        f"-s3.config={config}",
    )  # fmt: skip

    async def ready() -> bool:
        try:
            async with aiohttp.ClientSession(raise_for_status=True) as session:
                await session.get(f"http://{HOST}:{port}/healthz")
        except aiohttp.ClientError:
            return False
        return await has_volumes(ports["-master.port"])

    return ProcessSpec("s3", argv, {}, ready, stop_seconds=1.0)  # what it holds goes with the test


def seaweedfs_ports() -> dict[str, int]:
    """Free ports for the parts behind S3, by the option that sets each."""
    return {
        f"-{part}.port{protocol}": free_port() for part in ("master", "volume", "filer") for protocol in ("", ".grpc")
    }


async def has_volumes(master_port: int) -> bool:
    """Whether a SeaweedFS has where to write: its volume server finds the master at once, or 5 s later."""
    try:
        async with aiohttp.ClientSession(raise_for_status=True) as session:
            topology = await session.get(f"http://{HOST}:{master_port}/dir/status")
            return bool((await topology.json())["Topology"]["Max"])
    except aiohttp.ClientError:
        return False


STORES = {"juicefs": s3_server, "seaweedfs": seaweedfs_server}
