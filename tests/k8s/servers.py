"""NATS and the lake as a cluster would run them: the rendered command, files and variables, on free loopback ports."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp

from framemesh.mesh.servers import HOST, free_port, program
from framemesh.mesh.supervision import ProcessSpec
from k8s.make_secrets import made
from tests.k8s.rendering import Object, find, pod_of
from tests.stores import has_volumes, seaweedfs_ports

Secrets = dict[str, dict[str, str]]


def nats_server(
    objects: list[Object],
    secrets: Secrets,
    folder: Path,
    port: int,
    *,
    name: str = "nats-0",
    cluster_port: int = 0,
    **variables: str,
) -> ProcessSpec:
    """A NATS server from the StatefulSet, the ConfigMap and the Secret.

    Args:
        cluster_port: Where the others of its cluster reach it.
        variables: In place of those that are paths or addresses inside the cluster.
    """
    config = folder / "config"
    config.mkdir(parents=True)
    for file, text in find(objects, "ConfigMap", "nats")["data"].items():
        (config / file).write_text(text)
    container = _container(objects, "nats")
    written = {one["name"]: one["value"] for one in container["env"] if "value" in one}
    own = {"NATS_SERVER_NAME": name, "NATS_STORE_DIR": str(folder / "data"), **variables}
    argv = [part.replace("/etc/nats", str(config)) for part in container["command"]]
    monitor = free_port()
    argv = [program(argv[0]), *argv[1:], "--addr", HOST, "--port", str(port), "--http_port", str(monitor)]
    if cluster_port:
        argv += ["--cluster_listen", f"nats://{HOST}:{cluster_port}"]
    (mount,) = [one["mountPath"] for one in container["volumeMounts"] if one["name"] == "config"]
    assert mount == "/etc/nats"
    probe = container["readinessProbe"]["httpGet"]["path"]
    return ProcessSpec(name, tuple(argv), {**written, **secrets["nats"], **own}, _answers(f"{monitor}{probe}"))


def lake_server(objects: list[Object], secrets: Secrets, folder: Path, port: int) -> ProcessSpec:
    """SeaweedFS from the component's StatefulSet and the Secret."""
    folder.mkdir(parents=True)
    (folder / "s3.json").write_text(secrets["s3"]["s3.json"])
    (folder / "data").mkdir()
    inside = {
        "/data": str(folder / "data"), "/etc/s3": str(folder), "=8333": f"={port}",
        "-s3.ip.bind=0.0.0.0": f"-s3.ip.bind={HOST}",
        "-volume.max=0": f"-volume.max={_room_gib(objects)}",
    }  # fmt: skip
    argv = []
    container = _container(objects, "s3")
    for part in container["command"]:
        for here, there in inside.items():
            part = part.replace(here, there)  # noqa: PLW2901
        argv.append(part)
    ports = seaweedfs_ports()
    argv = [program(argv[0]), *argv[1:], *(f"{flag}={number}" for flag, number in ports.items())]
    argv.append(f"-s3.port.grpc={free_port()}")
    answers = _answers(f"{port}{container['readinessProbe']['httpGet']['path']}")

    async def ready() -> bool:
        return await answers() and await has_volumes(ports["-master.port"])

    written = {one["name"]: one["value"] for one in container["env"]}
    return ProcessSpec("s3", tuple(argv), {**written, "HOME": os.devnull}, ready, stop_seconds=1.0)


def _room_gib(objects: list[Object]) -> int:
    """How many volumes of 1 GiB the claim of the lake has room for: this machine's disk has more, or less."""
    (claim,) = find(objects, "StatefulSet", "s3")["spec"]["volumeClaimTemplates"]
    return int(claim["spec"]["resources"]["requests"]["storage"].removesuffix("Gi"))


def fresh_secrets() -> Secrets:
    """What the program that users run makes up."""
    return made("seaweedfs", {})


def _container(objects: list[Object], name: str) -> Object:
    (container,) = pod_of(find(objects, "StatefulSet", name))["containers"]
    return dict(container)


def _answers(place: str) -> Callable[[], Awaitable[bool]]:
    async def ready() -> bool:
        try:
            async with aiohttp.ClientSession() as session, session.get(f"http://{HOST}:{place}") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False

    return ready
