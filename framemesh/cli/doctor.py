"""`framemesh doctor`."""

import asyncio
import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from framemesh.cli.services import check_installed
from framemesh.cli.target import DEFAULT_DATA_DIR, Address, AsJson, DataDir

if TYPE_CHECKING:
    from framemesh.doctor.places import Places

_NEEDED = ("aiohttp", "nats", "obstore", "psutil", "pydantic_settings", "structlog")
_STYLES = {"fine": "green", "advice": "yellow", "wrong": "red"}


def doctor(
    port: Annotated[
        list[int] | None, typer.Option("--port", help="A port that `framemesh up` is to have; several are fine.")
    ] = None,
    address: Address = None,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Try what a mesh needs, on this machine and of its servers, and say how to mend what is wrong; exit code 1 then.

    Looks at the mesh that runs on the data directory, or at the servers that FRAMEMESH_NATS_URL, FRAMEMESH_S3_ENDPOINT
    and FRAMEMESH_ADDRESS name, or, where there is neither, at what would keep `framemesh up` from working here.
    """
    check_installed(_NEEDED, "doctor", "run `make demo`, or `pip install -e '.[mesh]'`")
    from framemesh.doctor.places import places  # noqa: PLC0415 - what only this command needs
    from framemesh.telemetry import logs  # noqa: PLC0415

    logs.configure("critical", service="doctor")  # findings say what went wrong
    if not asyncio.run(_all_well(places(data_dir, address, os.environ), port or [], as_json=as_json)):
        raise typer.Exit(1)


async def _all_well(places: "Places", ports: list[int], *, as_json: bool) -> bool:
    from framemesh.doctor.examining import examine  # noqa: PLC0415
    from framemesh.doctor.findings import State  # noqa: PLC0415
    from framemesh.words import printable  # noqa: PLC0415

    console = Console()
    wrong = 0
    async for finding in examine(places, ports):
        wrong += finding.state is State.WRONG
        if as_json:
            typer.echo(json.dumps(asdict(finding)))
            continue
        mend = f" -> {finding.mend}" if finding.mend else ""
        words = printable(f"{finding.check}: {finding.found}{mend}")  # servers that nobody knows yet speak there too
        line = Text.assemble((f"{finding.state:<7}", _STYLES[finding.state]), words)
        console.print(line, soft_wrap=True)
    if not as_json:
        console.print(f"{wrong} wrong" if wrong else "all is well")
    return not wrong
