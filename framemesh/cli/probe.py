"""`framemesh ingest probe`."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from framemesh.cli.ingest import check_ingest
from framemesh.cli.target import AsJson

_PROBE_SECONDS = 30.0
_PASSWORD = "FRAMEMESH_CAMERA_PASSWORD"  # noqa: S105 - a variable's name


def probe(
    source: Annotated[
        str, typer.Argument(help="An rtsp:// or http:// URL, /dev/video0, or the path of a video, image or folder.")
    ],
    username: Annotated[str, typer.Option(help="Who logs in at the camera.", show_default=False)] = "",
    password: Annotated[
        str, typer.Option(envvar=_PASSWORD, help="That user's password.", show_default=False, show_envvar=True)
    ] = "",
    transport: Annotated[str, typer.Option(help="What RTSP's pictures travel by: tcp or udp.")] = "tcp",
    format: Annotated[  # noqa: A002 - what FFmpeg and the settings call it
        str, typer.Option(help="FFmpeg's name of the input format, where it can't be told.", show_default=False)
    ] = "",
    option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="One of FFmpeg's options for the input.")
    ] = None,
    verify_tls: Annotated[bool, typer.Option(help="Want a certificate that is trusted here.")] = True,
    seconds: Annotated[float, typer.Option(help="How long to wait for an answer.", min=0.5, max=600)] = 10.0,
    save: Annotated[Path | None, typer.Option(help="Save a picture here, as it would be sent.", dir_okay=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a camera, a video or a folder offers."""
    check_ingest("probe")
    settings: dict[str, object] = {
        "name": "probed",
        "source": source,
        "transport": transport,
        "verify_tls": verify_tls,
        "stall_seconds": seconds,
        "options": _options(option or []),
        **({"username": username, "password": password} if username else {}),
        **({"format": format} if format else {}),
    }
    offer = _asked(settings, save, within=2 * seconds + _PROBE_SECONDS)
    if "error" in offer:
        _fail(offer["error"])
    typer.echo(json.dumps(offer) if as_json else "\n".join(_lines(offer)))


def _asked(settings: dict[str, object], save: Path | None, *, within: float) -> dict[str, Any]:
    """Run the program that looks: a driver that hangs, hangs there."""
    argv = (sys.executable, "-m", "ingest.probing", *((str(save.absolute()),) if save is not None else ()))
    environment = {name: value for name, value in os.environ.items() if name != _PASSWORD}
    try:
        done = subprocess.run(
            argv,
            input=json.dumps(settings),
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
            timeout=within,
            check=False,
        )
    except subprocess.TimeoutExpired:
        _fail(f"nothing came for {within:g} s: the device or its driver hangs")
    lines = done.stdout.splitlines()
    if not lines:
        _fail(f"looking ended with {done.returncode}: the lines above say why")
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def _options(words: list[str]) -> dict[str, str]:
    options = dict(word.split("=", 1) for word in words if "=" in word)
    wrong = next((word for word in words if "=" not in word), None)
    if wrong is not None:
        _fail(f"--option can't be {wrong!r}: write NAME=VALUE, such as input_format=mjpeg")
    return options


def _lines(offer: dict[str, Any]) -> list[str]:
    video = [offer["kind"], *([offer["container"]] if offer["container"] else []), offer["codec"]]
    video.append(f"{offer['width_px']} x {offer['height_px']}")
    if offer["fps"]:
        video.append(f"{offer['fps']:.4g} frames/s")
    if offer["bits_per_second"]:
        video.append(f"{offer['bits_per_second'] / 1e6:.3g} Mbit/s")
    ahead = offer["clock_ahead_seconds"]
    clock = "it doesn't tell its own" if ahead is None else f"its own is {ahead:+.1f} s from this machine's"
    return [
        offer["source"],
        f"  gives  {', '.join(video)}",
        f"  sent   {'byte for byte' if offer['passes'] else 'as JPEG, encoded here'}",
        f"  clock  {clock}",
        *([f"  saved  {offer['saved_as']}"] if offer["saved_as"] else []),
    ]


def _fail(words: str) -> NoReturn:
    typer.echo(f"framemesh: {words}", err=True)
    raise typer.Exit(1)
