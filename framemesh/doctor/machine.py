"""What `framemesh up` needs of this machine: Python's packages, programs, ports, memory."""

import platform
import re
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import psutil

from framemesh.doctor.findings import Finding, advice, fine, wrong
from framemesh.errors import ConfigurationError
from framemesh.mesh.servers import check_port, program
from framemesh.words import size

_GIB = 1024**3
LEAST_MEMORY_BYTES = 2 * _GIB
"""Room for torch, which prepares models, beside the services; with less it may do, or be killed."""
_REQUIREMENT = re.compile(
    r"(?P<name>[\w.-]+)(?:\[(?P<extras>[\w,-]+)\])?(?P<versions>[^;]*)(?:;.*extra == ['\"](?P<extra>[\w-]+)['\"])?"
)
_INSTALL = "in a clone of the repository run `make demo`, or `pip install -c constraints.txt -e '.[all]'`"


def python(least: tuple[int, ...] = (3, 11)) -> Finding:
    """Python's version."""
    found = platform.python_version()
    wanted = ".".join(map(str, least))
    if _numbers(found) < least:
        return wrong("Python", f"this is Python {found}, and {wanted} is needed", f"make PYTHON=python{wanted} demo")
    return fine("Python", f"this is Python {found}")


def packages(needed: Iterable[str]) -> Finding:
    """Whether requirements such as `nats-py>=2.15,<3` are met."""
    missing, other, met = [], [], 0
    for requirement in needed:
        parts = _REQUIREMENT.fullmatch(requirement)
        if parts is None:
            continue
        try:
            found = version(parts["name"])
        except PackageNotFoundError:
            missing.append(parts["name"])
            continue
        if _fits(found, parts["versions"]):
            met += 1
        else:
            other.append(f"{parts['name']} {found} ({parts['versions'].strip()} is needed)")
    groups = {"not installed": missing, "other versions": other}
    if words := [f"{what}: {', '.join(sorted(names))}" for what, names in groups.items() if names]:
        return wrong("packages", "; ".join(words), _INSTALL)
    return fine("packages", f"{met} packages have the versions that are needed")


def needed_by(extra: str) -> list[str]:
    """The requirements of `framemesh[extra]`, those of the extras in it too."""
    return sorted(set(_requirements(extra)))


def _requirements(extra: str) -> Iterator[str]:
    for text in requires("framemesh") or []:
        parts = _REQUIREMENT.fullmatch(text)
        if parts is None or parts["extra"] not in {None, extra}:
            continue
        if parts["name"] == "framemesh":
            for inner in (parts["extras"] or "").split(","):
                yield from _requirements(inner)
        else:
            yield f"{parts['name']}{parts['versions'].strip()}"


def programs(names: Iterable[str] = ("nats-server", "juicefs")) -> Finding:
    """Whether the servers that `up` starts are there."""
    try:
        found = [Path(program(name)).name for name in names]
    except ConfigurationError as error:
        return wrong("programs", str(error).partition(":")[0], _INSTALL)
    return fine("programs", f"{' and '.join(found)} are installed")


def port(number: int) -> Finding:
    """Whether a port that `up` is to have is free."""
    try:
        check_port(number, "another flag")
    except ConfigurationError:
        holders = {
            psutil.Process(one.pid).name()
            for one in psutil.net_connections("tcp")
            if one.pid and one.laddr and one.laddr.port == number and one.status == psutil.CONN_LISTEN
        }
        whose = f" ({', '.join(sorted(holders))} has it)" if holders else ""
        return wrong("ports", f"port {number} can't be listened on{whose}", "end what has it, or choose another port")
    return fine("ports", f"port {number} is free")


def memory(least_bytes: int = LEAST_MEMORY_BYTES) -> Finding:
    """Memory that is free, of the machine and of the container that this may be."""
    free = psutil.virtual_memory().available
    group = Path("/sys/fs/cgroup")
    limit, used = _number(group / "memory.max"), _number(group / "memory.current")
    if limit is not None and used is not None:
        free = min(free, max(0, limit - used))
    if free < least_bytes:
        mend = "end other programs; or serve one small model, prepared elsewhere (docs/models.md)"
        return advice("memory", f"{size(free)} are free, and the demo wants {size(least_bytes)}", mend)
    return fine("memory", f"{size(free)} are free")


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no such file, or "max"
        return None


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.match(r"[\d.]*", text)[0].strip(".").split(".") if part)  # type: ignore[index]


def _fits(found: str, versions: str) -> bool:
    """Whether a version is within bounds such as `>=2.15,<3`, all that our requirements are made of."""
    own = _numbers(found)
    for bound in filter(None, versions.replace(" ", "").strip("()").split(",")):
        sign, wanted = re.fullmatch(r"([<>=!~]+)(.*)", bound).groups()  # type: ignore[union-attr]
        limit = _numbers(wanted)
        length = max(len(own), len(limit))
        mine, theirs = (numbers + (0,) * (length - len(numbers)) for numbers in (own, limit))
        if not {">=": mine >= theirs, "<": mine < theirs, "==": mine == theirs}.get(sign, True):
            return False
    return True
