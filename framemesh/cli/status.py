"""`framemesh status`."""

from datetime import UTC, datetime

import typer
from google.protobuf.json_format import MessageToJson
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.table import Table
from rich.text import Text

from framemesh.cli.target import DEFAULT_DATA_DIR, Address, AsJson, DataDir, open_client
from framemesh.specs import policy_text
from framemesh.v1.status_service_pb2 import GetStatusResponse
from framemesh.words import size, span, state_beside_problems


def status(address: Address = None, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Show what waits where, and what is wrong; exit code 1 where something is."""
    with open_client(address, data_dir) as client:
        found = client.status()
    if as_json:
        typer.echo(MessageToJson(found, indent=None, always_print_fields_with_no_presence=True))
    else:
        _show(found, Console())
    if found.problems:
        raise typer.Exit(1)


def _show(found: GetStatusResponse, console: Console) -> None:
    now = found.time.ToDatetime(UTC)
    streams = _table("stream", "messages", "size", "limit", "oldest")
    for stream in found.streams:
        streams.add_row(
            stream.name,
            f"{stream.message_count:,}",
            size(stream.size_bytes),
            size(stream.limit_bytes),
            _age(stream.oldest_time, now) if stream.HasField("oldest_time") else "",
        )
    cameras = _table("camera", "waiting", "newest stored frame")
    for camera in found.cameras:
        newest = camera.newest_frame
        cameras.add_row(
            Text(camera.camera),
            f"{camera.waiting_frame_count:,}",
            f"{_age(newest.frame.capture_time, now)} ago" if camera.HasField("newest_frame") else "none",
        )
    models = _table("model", "state", "policy", "waiting")
    for each in found.models:
        spec = each.model.spec
        models.add_row(
            spec.name, state_beside_problems(each.model), policy_text(spec.policy), f"{each.waiting_frame_count:,}"
        )
    tables = _table("table", "not written yet", "since")
    for table in found.tables:
        since = _age(table.waiting_since_time, now) if table.waiting_message_count else ""
        tables.add_row(table.name, f"{table.waiting_message_count:,}", since)
    for made in (_services(found, now), streams, cameras, models, tables):
        if made.row_count:
            console.print(made, "")
    for name, answers in (("NATS", found.bus_answers), ("the lake", found.lake_answers)):
        console.print(f"{name} answers" if answers else Text(f"{name} does not answer", style="red"))
    for problem in found.problems:
        console.print(Text(problem, style="red"), soft_wrap=True)
    if not found.problems:
        console.print("all is well")


def _services(found: GetStatusResponse, now: datetime) -> Table:
    made = _table("service", "instance", "up for")
    for service in found.services:
        made.add_row(Text(service.service), Text(service.instance), _age(service.start_time, now))
    return made


def _table(first: str, *others: str) -> Table:
    made = Table(first, box=None, header_style="bold", padding=(0, 2, 0, 0))
    for title in others:
        made.add_column(title, justify="right")
    return made


def _age(time: Timestamp, now: datetime) -> str:
    return span(max(0.0, (now - time.ToDatetime(UTC)).total_seconds()))
