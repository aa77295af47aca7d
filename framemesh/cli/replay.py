"""`framemesh replay`."""

import json
import time
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from framemesh.cli.archived import PATIENCE_SECONDS, await_archive
from framemesh.cli.bar import Bar
from framemesh.cli.lake import FIRST, LAST, Since, Until, lake_tables
from framemesh.cli.target import DEFAULT_DATA_DIR, Address, AsJson, DataDir, deployed_model, open_client
from framemesh.cli.times import parse_time
from framemesh.client import REPLAY_SHARE, Client
from framemesh.errors import (
    EXIT_INTERRUPTED,
    BusUnavailableError,
    LakeUnavailableError,
    ModelUnavailableError,
)
from framemesh.v1.model_pb2 import Model, ReplicaState

if TYPE_CHECKING:  # it needs what a client may be installed without
    from framemesh.query import LakeTables
    from framemesh.unanswered import Past

_PASSING = (ModelUnavailableError, BusUnavailableError, LakeUnavailableError)


def replay(
    model: Annotated[str, typer.Option(help="The deployed model to run.")],
    camera: Annotated[list[str] | None, typer.Option(help="Only this camera's frames; repeatable.")] = None,
    since: Since = FIRST,
    until: Until = LAST,
    share: Annotated[
        float,
        typer.Option(min=0.01, max=1, help="Part of the model's capacity that it may take while live frames come."),
    ] = REPLAY_SHARE,
    again: Annotated[
        bool, typer.Option("--again", help="Also frames that failed, or that another version of the model answered.")
    ] = False,
    as_json: AsJson = False,
    address: Address = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Run a model over stored frames that it has not answered yet.

    Stop it whenever you like: the same command goes on with what is left, and one that has all does nothing.
    """
    now = datetime.now(UTC)
    times = parse_time(since, now=now), parse_time(until, now=now)
    with open_client(address, data_dir) as client:
        found = deployed_model(client, model)
        versions = _versions(found)
        if again and not versions:
            raise ModelUnavailableError(
                f"no server of model {model!r} answers: --again goes by its version; `framemesh models` shows its state"
            )
        with lake_tables(data_dir) as tables:
            from framemesh.unanswered import Past  # noqa: PLC0415 - `lake_tables` says what to install for it

            past = Past(model, camera or (), *times, shadow=found.spec.shadow)
            work = _Work(client, tables, past, share=share, versions=versions if again else None)
            try:
                work.finish()
            except KeyboardInterrupt:
                left = f"; {work.left:,} are left, with which the same command goes on" if work.left else ""
                typer.echo(f"stopped after {work.done:,} frames{left}", err=True)
                raise typer.Exit(EXIT_INTERRUPTED) from None
            work.report(as_json=as_json)


def _versions(model: Model) -> list[str]:
    """Which versions of the model answer now."""
    serving = (one for one in model.replicas if one.state == ReplicaState.REPLICA_STATE_SERVING)
    return sorted({replica.model_version for replica in serving})


class _Work:
    """One run of the command: what is left is found, answered, and found again where something broke off."""

    def __init__(
        self, client: Client, tables: "LakeTables", past: "Past", *, share: float, versions: list[str] | None
    ) -> None:
        self._client = client
        self._tables = tables
        self._past = past
        self._share = share
        self._versions = versions
        self._gone = 0
        self._away_since: float | None = None
        self.done = 0
        self.left = 0

    def finish(self) -> None:
        """Get all answers into the lake.

        Raises:
            FrameNotFoundError: There are no frames of one of the cameras.
            ConfigurationError: Nobody writes the tables.
            FramemeshError: Something is away and doesn't come back.
        """
        while True:
            try:
                await_archive(self._client)
                self._answer()
                await_archive(self._client)
            except _PASSING as error:
                self._away_since = self._away_since or time.monotonic()
                if time.monotonic() > self._away_since + PATIENCE_SECONDS:
                    raise
                typer.echo(f"{error}; trying again", err=True)
                time.sleep(1)
            else:
                return

    def report(self, *, as_json: bool) -> None:
        """Print what the lake has now."""
        from framemesh.unanswered import counts  # noqa: PLC0415 - as above

        self._tables.refresh()
        found = counts(self._tables, self._past)
        if as_json:
            words = {"model": self._past.model, **asdict(found), "replayed": self.done, "gone": self._gone}
            typer.echo(json.dumps(words))
            return
        typer.echo(
            f"{self._past.model} has answered {found.succeeded:,} of {found.frames:,} frames, {self.done:,} just now"
        )
        if found.failed:
            typer.echo(f"it failed on {found.failed:,}: `framemesh query` says why, and --again tries them once more")
        if self._gone:
            typer.echo(f"{self._gone:,} are in the lake no more")

    def _answer(self) -> None:
        """Have what is left answered."""
        from framemesh.unanswered import left  # noqa: PLC0415 - as above

        self._tables.refresh()
        self._tables.check_cameras(self._past.cameras)
        keys = left(self._tables, self._past, versions=self._versions)
        if not keys:
            return
        before = self.done
        replaying = self._client.replay(self._past.model, keys, share=self._share, again=self._versions is not None)
        with closing(replaying) as responses, Bar(self._past.model) as bar:
            for response in responses:
                self._away_since = None
                self._gone = response.gone_count
                self.done = before + response.succeeded_count + response.failed_count
                bar.show(self.done - before + self._gone, len(keys), waiting=response.waiting_reason)
                self.left = len(keys) - (self.done - before) - self._gone
