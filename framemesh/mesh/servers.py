"""The NATS and S3 servers from their wheels, as processes of the mesh."""

import json
import random
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from framemesh.bus.streams import MAX_PAYLOAD_BYTES
from framemesh.errors import ConfigurationError
from framemesh.mesh.supervision import ProcessSpec

HOST = "127.0.0.1"
_FIRST_PORT = 10_240
_GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Credentials:
    """User and password, made up for this data directory."""

    user: str
    password: str


def free_port() -> int:
    """A TCP port that nobody listens on now, and that the system gives to nobody's outgoing connection meanwhile."""
    while True:
        port = random.randrange(_FIRST_PORT, _outgoing_ports_begin())  # noqa: S311 - so that two who look find two
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port


def _outgoing_ports_begin() -> int:
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        return 32_768  # Linux's own choice
    return first if first > _FIRST_PORT else 65_536


def check_port(port: int, flag: str) -> None:
    """Pass a port that can be listened on.

    Raises:
        ConfigurationError: Somebody does already.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise ConfigurationError(
                f"port {port} can't be used: {error.strerror}; choose another with {flag}, or leave it out", port=port
            ) from error


def nats_url(port: int, credentials: Credentials) -> str:
    """The URL that clients connect to."""
    return f"nats://{credentials.user}:{credentials.password}@{HOST}:{port}"


def agent_permissions(user: str) -> dict[str, list[str]]:
    """What NATS must let a camera agent do: send frames, say how its cameras are, and hear its own receipts alone."""
    return {
        "publish": ["frames.*", "events.cameras.*", "$KV.cameras.*", "$JS.API.STREAM.INFO.KV_cameras"],
        "subscribe": [f"_INBOX.{user}.>"],
    }


def console_permissions(user: str) -> dict[str, object]:
    """What NATS must let the console do: see frames, answers, corrections and log lines go by, and change nothing."""
    seen = ["frames.*", "results.*.*", "shadows.*.*", "corrections.*.*.*", "logs.*.*"]
    return {"publish": {"deny": ">"}, "subscribe": [*seen, f"_INBOX.{user}.>"]}


def camera_permissions(user: str, *cameras: str) -> dict[str, list[str]]:
    """What NATS must let a user do who is for these cameras alone."""
    return {"publish": [f"frames.{camera}" for camera in cameras], "subscribe": [f"_INBOX.{user}.>"]}


def nats_server(
    folder: Path,
    port: int,
    credentials: Credentials,
    *,
    others: Mapping[Credentials, Mapping[str, object]] | None = None,
    max_payload_bytes: int = MAX_PAYLOAD_BYTES,
) -> ProcessSpec:
    """A NATS server with JetStream on disk, which acknowledges only what it has synced.

    Args:
        folder: For all that it stores.
        port: Where it listens.
        credentials: Of the user who may do everything.
        others: Those of further users, with what they may publish and subscribe to.
        max_payload_bytes: The largest message, headers too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "nats.conf"
    config.touch(mode=0o600)
    users = [{"user": credentials.user, "password": credentials.password}]
    limited = [
        {"user": other.user, "password": other.password, "permissions": permissions}
        for other, permissions in (others or {}).items()
    ]
    config.write_text(
        f"""# Written by framemesh at each start.
server_name: framemesh
listen: "{HOST}:{port}"
max_payload: {max_payload_bytes}
jetstream {{
  store_dir: {json.dumps(str(folder))}
  # Every stream has a limit of its own. NATS's own limit, three quarters of what is free now, might refuse at the next
  # start what these streams were given at this one.
  max_file_store: {shutil.disk_usage(folder).total}
  sync_interval: always  # else an acknowledged frame may be lost for two minutes when power fails
}}
authorization {{ users: {json.dumps([*users, *limited])} }}
"""
    )

    async def ready() -> bool:
        return _listens(port)

    return ProcessSpec("nats", (program("nats-server"), "-c", str(config)), {}, ready)


def s3_server(folder: Path, port: int, credentials: Credentials, *, leave_bytes: int | None = None) -> ProcessSpec:
    """JuiceFS's S3 gateway, which is MinIO's S3 layer, on files below the folder. Formats the volume at first.

    Args:
        folder: For all that it stores.
        port: Where it listens.
        credentials: Of its only user.
        leave_bytes: How much of what is free at first it leaves to others, rounded up to whole GiB; none means nothing.
            Without room it refuses what is put, and goes on once something is deleted.

    Raises:
        ConfigurationError: The volume can't be made there.
    """
    juicefs = program("juicefs")
    folder.mkdir(parents=True, exist_ok=True)
    metadata = f"badger://{folder / 'metadata'}"
    if not (folder / "metadata").exists():
        # At first only: badger may not open again right after a process that had it open for a moment (1 in 80 here).
        room = () if leave_bytes is None else ("--capacity", str(_whole_gib(folder, leave_bytes)))
        made = subprocess.run(
            (juicefs, "format", "--storage", "file", "--bucket", f"{folder / 'objects'}/", "--trash-days", "0",
             *room, metadata, "framemesh"),
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
        if made.returncode != 0:
            shutil.rmtree(folder / "metadata", ignore_errors=True)
            raise ConfigurationError(f"can't make the lake in {folder}: {made.stderr.strip()[-500:]}")

    async def ready() -> bool:
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://{HOST}:{port}/minio/health/live") as response,
            ):
                return response.status == 200
        except aiohttp.ClientError:
            return False

    argv = (
        juicefs, "gateway", metadata, f"{HOST}:{port}",
        "--multi-buckets", "--keep-etag", "--object-meta", "--no-banner", "--no-usage-report", "--backup-meta", "0",
        "--cache-dir", str(folder / "cache"), "--cache-size", "0", "--buffer-size", "64M",
        "--log", str(folder / "gateway.log"), "--metrics", f"{HOST}:0",
    )  # fmt: skip
    env = {"MINIO_ROOT_USER": credentials.user, "MINIO_ROOT_PASSWORD": credentials.password}
    return ProcessSpec("s3", argv, env, ready)


def _whole_gib(folder: Path, leave_bytes: int) -> int:
    """What the volume may take of the disk: one GiB at least, as it knows no smaller unit."""
    return max(1, (shutil.disk_usage(folder).free - leave_bytes) // _GIB)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex((HOST, port)) == 0


def program(name: str) -> str:
    """The program that a wheel put beside this Python, or one on the path."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise ConfigurationError(
            f"{name} is not installed: run `pip install -e '.[mesh]'` in framemesh's checkout", name=name
        )
    return found
