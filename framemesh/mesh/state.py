"""The data directory of a mesh: its lock, its credentials, and the processes that run on it."""

import fcntl
import json
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from framemesh.errors import ConfigurationError
from framemesh.mesh.joining import MESH_FILE, write_private
from framemesh.mesh.servers import Credentials

PROCESSES_FILE = "processes.json"
_END_SECONDS = 5.0
_PASSWORD = re.compile(r"[0-9a-f]{32}")


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
            (folder / PROCESSES_FILE).unlink(missing_ok=True)


def write_processes(folder: Path, pids: dict[str, int]) -> None:
    """Note what runs, for a next start that has to clear up after a mesh that was killed."""
    write_private(folder / PROCESSES_FILE, json.dumps(pids))


def credentials(folder: Path, server: str, user: str) -> Credentials:
    """The credentials of one of our own servers: made up at first, the same ever after.

    Raises:
        ConfigurationError: Somebody has changed the file that keeps them.
    """
    path = folder / f"{server}.secret"
    if not path.exists():
        write_private(path, secrets.token_hex(16))
    password = path.read_text(errors="replace").strip()
    if not _PASSWORD.fullmatch(password):
        raise ConfigurationError(
            f"{path} no longer holds the password that framemesh made up; remove it, and a new one is made"
        )
    return Credentials(user, password)


def _end_leftovers(folder: Path) -> None:
    """End the processes of a mesh that was killed before it could: they hold its ports and files."""
    noted = folder / PROCESSES_FILE
    try:
        pids = json.loads(noted.read_text()).values()
        since = noted.stat().st_mtime
    except (OSError, ValueError, AttributeError):
        return
    found = []
    for pid in pids:
        if not isinstance(pid, int) or pid <= 1:
            continue
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
