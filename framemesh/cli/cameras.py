"""`framemesh cameras`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from google.protobuf.json_format import MessageToJson
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from framemesh.cli.target import DEFAULT_DATA_DIR, Address, AsJson, DataDir, open_client
from framemesh.v1.camera_pb2 import Camera, LineState, SourceState
from framemesh.words import printable, span

_NONE = "no agent says how its cameras are: does one run, and reach NATS?"


def cameras(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on showing them until Ctrl-C.")] = False,
    address: Address = None,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Show how the cameras are: rates, the newest picture, reconnects, what waits on disk, and what went wrong last."""
    with open_client(address, data_dir) as client:
        if not watch:
            _print(client.cameras(), as_json=as_json)
            return
        try:
            if as_json or not Console().is_terminal:
                for found in client.watch_cameras():
                    _print(found, as_json=as_json)
                return
            with Live(console=Console(), auto_refresh=False) as live:
                for found in client.watch_cameras():
                    live.update(_shown(found), refresh=True)
        except KeyboardInterrupt:
            return


def _print(found: Sequence[Camera], *, as_json: bool) -> None:
    if not as_json:
        Console().print(_shown(found))
        return
    for camera in found:
        typer.echo(MessageToJson(camera, indent=None, always_print_fields_with_no_presence=True))


def _shown(found: Sequence[Camera]) -> RenderableType:
    if not found:
        return _NONE
    table = Table("camera", "state", box=None, header_style="bold", padding=(0, 2, 0, 0))
    for title in ("fps in", "fps out", "newest", "reconnects", "spilled", "dropped"):
        table.add_column(title, justify="right")
    now = datetime.now(UTC)
    for camera in found:
        table.add_row(
            camera.name,
            _state(camera),
            f"{camera.captured_fps:.1f}",
            f"{camera.published_fps:.1f}",
            _age(camera.newest_capture_time, now) if camera.HasField("newest_capture_time") else "none",
            f"{camera.reconnect_count:,}",
            f"{camera.spilled_frame_count:,}",
            f"{camera.dropped_frame_count:,}",
        )
    errors = [
        Text(f"{camera.name}, {_age(camera.last_error_time, now)} ago: {printable(camera.last_error)}", style="yellow")
        for camera in found
        if camera.last_error
    ]
    return Group(table, *errors)


def _state(camera: Camera) -> Text:
    """What its source does, and its frames where they don't go to NATS as they come."""
    words = [SourceState.Name(camera.source_state).removeprefix("SOURCE_STATE_").lower()]
    if camera.line_state != LineState.LINE_STATE_SENDING:
        words.append(LineState.Name(camera.line_state).removeprefix("LINE_STATE_").lower())
    well = camera.source_state == SourceState.SOURCE_STATE_CAPTURING and len(words) == 1
    return Text(", ".join(words), style="" if well else "yellow")


def _age(time: Timestamp, now: datetime) -> str:
    return span(max(0.0, (now - time.ToDatetime(UTC)).total_seconds()))
