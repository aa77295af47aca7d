"""The data directory: whether it can be written, on what it lies, what room it has, and whether syncs reach a disk."""

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from framemesh.doctor.findings import Finding, advice, fine, wrong
from framemesh.errors import ConfigurationError
from framemesh.mesh.disk import LOW_BYTES, small_words, stream_bytes, stream_bytes_for
from framemesh.mesh.joining import MESH_FILE
from framemesh.words import size

_SYNCS = 16
_BLOCK = b"\0" * 4096
_IN_MEMORY = {"tmpfs", "ramfs"}
_REMOTE = {"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph", "glusterfs", "virtiofs"}
_FREE = "free some, or choose a --data-dir on another disk"
_OTHER = "choose a --data-dir on a local disk"


def writable(folder: Path) -> Finding:
    """Whether files can be made in the data directory, or where it will be made."""
    place = _existing(folder)
    try:
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(20, "it is a file")
        with tempfile.NamedTemporaryFile(dir=place) as file:
            file.write(_BLOCK)
            file.flush()
    except OSError as error:
        return wrong(
            "data directory",
            f"{place} can't be written: {error.strerror}",
            "make it yours, or choose another --data-dir",
        )
    return fine("data directory", f"{place} can be written")


def private(folder: Path) -> Finding:
    """Whether the file with the mesh's passwords is the owner's alone."""
    path = folder / MESH_FILE
    if path.stat().st_mode & 0o077:
        return wrong(
            "secrets",
            f"others can read the passwords in {path}",
            f"chmod 600 {path}; where others may have read it, remove {folder}/*.secret and start `up` anew",
        )
    return fine("secrets", f"only its owner can read {path}")


def room(folder: Path, chosen: Mapping[str, str]) -> Finding:
    """Whether the streams of a mesh that is yet to be started get the room that they usually have."""
    free = shutil.disk_usage(_existing(folder)).free
    try:
        sizes = stream_bytes_for(folder, chosen) if folder.exists() else stream_bytes(free, chosen)
    except ConfigurationError as error:
        return wrong("disk space", str(error).partition(":")[0], _FREE)
    if words := small_words(sizes):
        return advice("disk space", f"{size(free)} are free; {words}", _FREE)
    return fine("disk space", f"{size(free)} are free")


def left(folder: Path) -> Finding:
    """Whether a mesh that runs has room left."""
    free = shutil.disk_usage(folder).free
    if free < LOW_BYTES:
        return wrong("disk space", f"only {size(free)} are free: frames will be refused", _FREE)
    return fine("disk space", f"{size(free)} are free")


def filesystem(folder: Path) -> Finding:
    """Whether the data directory lies on something that keeps it."""
    place = _existing(folder)
    kind = _kind(place)
    if kind in _IN_MEMORY:
        return wrong("filesystem", f"{place} is in memory ({kind}): all is gone when the machine restarts", _OTHER)
    if kind in _REMOTE:
        return advice("filesystem", f"{place} is on another machine ({kind}), as slow as the way there", _OTHER)
    if kind == "overlay":
        return advice(
            "filesystem", f"{place} goes with its container (overlay)", "mount a volume and choose a --data-dir on it"
        )
    return fine("filesystem", f"{place} is on {kind}")


def syncs(folder: Path, *, fastest_seconds: float = 20e-6) -> Finding:
    """Whether a sync takes as long as a disk takes; one that is quicker was not written anywhere."""
    place = _existing(folder)
    took = []
    try:
        with tempfile.NamedTemporaryFile(dir=place) as file:
            for _ in range(_SYNCS):
                file.write(_BLOCK)
                file.flush()
                began = time.perf_counter()
                os.fsync(file.fileno())
                took.append(time.perf_counter() - began)
    except OSError as error:
        return wrong("syncs", f"what is written in {place} can't be synced: {error.strerror}", _OTHER)
    median = statistics.median(took)
    if median < fastest_seconds:
        words = f"a sync in {place} takes {median * 1e6:.0f} µs, in which no disk writes: frames may be lost with power"
        return advice("syncs", words, f"{_OTHER} that syncs; without one, keep no frames that matter here")
    return fine("syncs", f"a sync in {place} takes {median * 1e3:.2g} ms")


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    resolved = folder.resolve()
    return next(place for place in (resolved, *resolved.parents) if place.exists())


def _kind(place: Path) -> str:
    """The type of the filesystem, by the longest mount point above the place."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:  # no Linux
        mounts = []
    above = [(mount[1], mount[2]) for mount in mounts if place.is_relative_to(mount[1].replace("\\040", " "))]
    return max(above, key=lambda mount: len(mount[0]), default=("", "an unknown filesystem"))[1]
