"""The `framemesh` command: what a user does with a mesh, in a few verbs."""

import sys
from typing import NoReturn

import typer

from framemesh.cli import (
    analyze,
    bench,
    cameras,
    compare,
    correct,
    dataset,
    deadletters,
    deploy,
    doctor,
    env,
    export,
    frames,
    ingest,
    models,
    probe,
    promote,
    query,
    render,
    replay,
    status,
    train,
    trainings,
    up,
    watch,
)
from framemesh.errors import EXIT_CONFIGURATION, ConfigurationError, FramemeshError
from framemesh.leaving import leave

app = typer.Typer(
    help="Camera frames in, typed answers out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(up.up)
app.command()(analyze.analyze)
app.command()(status.status)
app.command()(doctor.doctor)
app.command()(models.models)
app.command()(cameras.cameras)
app.command()(deploy.deploy)
app.command()(deploy.scale)
app.command()(deploy.delete)
app.command()(promote.promote)
app.command()(promote.rollback)
app.command()(promote.history)
app.command()(render.render)
app.command()(watch.watch)
app.command()(frames.frames)
app.command()(correct.correct)
app.add_typer(correct.app, name="corrections")
app.command()(query.query)
app.command()(compare.compare)
ingest.app.command()(probe.probe)
app.add_typer(ingest.app, name="ingest")
app.add_typer(deadletters.app, name="deadletters")
app.command()(replay.replay)
app.add_typer(dataset.app, name="dataset")
app.command()(env.env)
app.command()(export.export)
app.command()(train.train)
app.add_typer(trainings.app, name="trainings")
app.command("bench")(bench.bench_model)


def main() -> NoReturn:
    """Run the command; errors of the family are one clear line and an exit code."""
    try:
        app()
    except ConfigurationError as error:
        print(f"framemesh: {error}", file=sys.stderr)
        leave(EXIT_CONFIGURATION)
    except FramemeshError as error:
        print(f"framemesh: {error}", file=sys.stderr)
        leave(1)
    except SystemExit as end:  # how typer returns, always with a number
        leave(end.code if isinstance(end.code, int) else 0)
    leave(0)
