"""`framemesh models`."""

import typer
from google.protobuf.json_format import MessageToJson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from framemesh.cli.target import DEFAULT_DATA_DIR, Address, AsJson, DataDir, open_client
from framemesh.specs import policy_text, precision_text, runtime_text
from framemesh.words import called, state


def models(address: Address = None, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """List the deployed models and the state of their servers."""
    with open_client(address, data_dir) as client:
        found = client.models()
    if as_json:
        for model in found:
            typer.echo(MessageToJson(model, indent=None))
        return
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    tasks = any(model.spec.task for model in found)
    for title in ("model", "state", *(("task",) if tasks else ()), "runtime", "policy", "cameras", "source"):
        table.add_column(title)
    for model in found:
        table.add_row(
            called(model.spec),
            state(model),
            *((model.spec.task,) if tasks else ()),
            f"{runtime_text(model.spec.runtime)} {precision_text(model.spec.precision)}",
            policy_text(model.spec.policy),
            ", ".join(model.spec.cameras) or "all",
            Text(model.spec.source),
        )
    Console().print(table if found else "no model is deployed: `framemesh deploy NAME` deploys one")
