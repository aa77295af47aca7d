"""`framemesh watch`."""

from typing import Annotated

import typer
from google.protobuf.json_format import MessageToJson

from framemesh.cli.target import DEFAULT_DATA_DIR, Address, AsJson, DataDir, open_client
from framemesh.words import words


def watch(
    model: Annotated[list[str] | None, typer.Option(help="Only this model; repeatable.")] = None,
    camera: Annotated[list[str] | None, typer.Option(help="Only this camera; repeatable.")] = None,
    count: Annotated[int, typer.Option(min=0, help="Stop after so many results; 0 goes on until Ctrl-C.")] = 0,
    as_json: AsJson = False,
    address: Address = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Show results as they come."""
    with open_client(address, data_dir) as client:
        try:
            for number, result in enumerate(client.watch_results(models=model or (), cameras=camera or ()), start=1):
                if as_json:
                    typer.echo(MessageToJson(result, indent=None))
                else:
                    what, score = words(result.answer)[0]
                    taken = result.frame.capture_time.ToDatetime()
                    age = (result.answer_time.ToNanoseconds() - result.frame.capture_time.ToNanoseconds()) / 1e6
                    when = "    replayed" if result.replayed else f"{age:5.0f} ms old"
                    typer.echo(
                        f"{taken:%H:%M:%S.%f}Z  {result.frame.camera:<16}  {result.answer.model:<20}  "
                        f"{score:>5}  {when}  {what}"
                    )
                if number == count:
                    return
        except KeyboardInterrupt:
            return
