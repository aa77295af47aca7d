"""The data directory of a mesh: its lock, its credentials, and `mesh.json` for those who want to join."""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from framemesh.errors import ConfigurationError
from framemesh.mesh.servers import Credentials

MESH_FILE = "mesh.json"
_END_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class MeshState:
    """Everything that another program needs to join a mesh that runs.

    Attributes:
        address: The gateway's gRPC address, as `host:port`.
        nats_url: With user and password.
        s3_endpoint: As `http://host:port`.
        s3_access_key: The S3 server's user.
        s3_secret_key: Their password.
        http: Address of each service's `/metrics` and `/healthz`, by process name.
        processes: Process ids by name, the mesh's own as `mesh`.
    """

    address: str
    nats_url: str
    s3_endpoint: str
    s3_access_key: str
    s3_secret_key: str
    http: dict[str, str]
    processes: dict[str, int]

    def shell_exports(self) -> str:
        """What `framemesh env` prints."""
        values = {
            "FRAMEMESH_ADDRESS": self.address,
            "FRAMEMESH_NATS_URL": self.nats_url,
            "FRAMEMESH_S3_ENDPOINT": self.s3_endpoint,
            "FRAMEMESH_S3_ACCESS_KEY": self.s3_access_key,
            "FRAMEMESH_S3_SECRET_KEY": self.s3_secret_key,
        }
        return "\n".join(f"export {name}='{value}'" for name, value in values.items())


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the data directory for one mesh, and end what a killed one left running there.

    Raises:
        ConfigurationError: Another mesh runs on it, or it can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as error:
        raise ConfigurationError(
            f"can't use the data directory {folder}: {error.strerror}; choose another with --data-dir"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigurationError(
                f"a mesh runs on {folder} already: stop it, or choose another --data-dir", folder=folder
            ) from None
        _end_leftovers(folder)
        try:
            yield
        finally:
            (folder / MESH_FILE).unlink(missing_ok=True)


def write_state(folder: Path, state: MeshState) -> None:
    """Tell others how to join. Only the owner may read it: it has the passwords."""
    fresh = folder / f".{MESH_FILE}"
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(asdict(state), file, indent=2)
    fresh.rename(folder / MESH_FILE)


def read_state(folder: Path) -> MeshState | None:
    """How to join the mesh on that data directory; none where none runs."""
    try:
        return MeshState(**json.loads((folder / MESH_FILE).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def credentials(folder: Path, server: str, user: str) -> Credentials:
    """The credentials of one of our own servers: made up at first, the same ever after."""
    path = folder / f"{server}.secret"
    if not path.exists():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(secrets.token_hex(16))
    return Credentials(user, path.read_text())


def _end_leftovers(folder: Path) -> None:
    """End the processes of a mesh that was killed before it could: they hold its ports and files."""
    left = read_state(folder)
    if left is None:
        return
    since = (folder / MESH_FILE).stat().st_mtime
    found = []
    for pid in left.processes.values():
        try:
            process = psutil.Process(pid)
            # A younger process has got a dead one's number; it is none of ours.
            if process.create_time() <= since:
                found.append(process)
                process.terminate()
        except psutil.NoSuchProcess:
            continue
    _, alive = psutil.wait_procs(found, timeout=_END_SECONDS)
    for process in alive:
        process.kill()
    psutil.wait_procs(alive, timeout=_END_SECONDS)
