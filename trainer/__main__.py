"""`python -m trainer`: fine-tunes a model, and puts it into the lake.

Each line on standard output is a JSON object with its `step`; the last is `done` with where the model is, or `failed`
with the `error`, or `interrupted`. Exits 78 where it can't be so, 75 where trying again may help, 130
where it was told to stop: the same command goes on from there.
"""

import argparse
import errno
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from framemesh.errors import EXIT_CONFIGURATION, EXIT_INTERRUPTED, ConfigurationError, FramemeshError
from framemesh.exits import exit_code
from framemesh.leaving import leave
from framemesh.names import MAX_MODEL_LENGTH, check_label
from framemesh.telemetry import logs
from framemesh.trainings import BOUNDS
from trainer.orders import Order
from trainer.running import fetch_dataset, run
from trainer.settings import TrainerSettings
from trainer.stopping import InterruptedTrainingError
from trainer.telling import say


def main() -> NoReturn:
    """Run the program."""
    parser = argparse.ArgumentParser(prog="python -m trainer", description=__doc__)
    parser.add_argument("--dataset", required=True, help="a folder, or lake://datasets/NAME/VERSION")
    parser.add_argument("--base", required=True, help="a hub id, a folder, or lake://training/NAME/RUN")
    parser.add_argument("--name", required=True, help="the model's, as a DNS label")
    parser.add_argument("--revision", default="")
    parser.add_argument("--folder", type=Path, required=True, help="where the run keeps its files")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--head-only", action="store_true", default=None)
    parser.add_argument("--seed", type=int)
    arguments = vars(parser.parse_args())
    logs.configure("info", service="trainer")
    leave(_train(arguments))


def _train(arguments: dict[str, Any]) -> int:
    """Do it, and tell how it ended; returns the exit code."""
    folder = arguments["folder"] = arguments["folder"].resolve()
    try:
        settings = TrainerSettings()  # type: ignore[call-arg]  # read from the environment
        order = _order(arguments, fetch_dataset(arguments.pop("dataset"), settings, folder))
        say("done", **run(order, settings, say))
    except InterruptedTrainingError:
        say("interrupted")
        return EXIT_INTERRUPTED
    except FramemeshError as error:
        say("failed", error=str(error))
        return exit_code(error)
    except (ValidationError, MemoryError, RuntimeError, OSError) as error:
        if (why := _explained(error, folder)) is None:
            raise
        say("failed", error=why)
        return EXIT_CONFIGURATION
    return 0


def _explained(error: Exception, folder: Path) -> str | None:
    """What somebody may do about an error that isn't ours; none where it is a fault."""
    if isinstance(error, ValidationError):
        unset = ", ".join(f"FRAMEMESH_{'_'.join(map(str, one['loc'])).upper()}" for one in error.errors())
        return f"where the data lake is isn't set: set {unset}, or start a mesh with `framemesh up`"
    words = str(error).lower()
    if isinstance(error, MemoryError) or "out of memory" in words or "can't allocate memory" in words:
        return "out of memory: choose a smaller --batch-size, or a machine that has more"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"no space is left on the disk of {folder}: free some, and the same command goes on"
    return None


def _order(arguments: dict[str, Any], dataset: Path) -> Order:
    name = check_label("model", arguments["name"], max_length=MAX_MODEL_LENGTH)
    chosen = {field: value for field in BOUNDS if (value := arguments[field]) is not None}
    for field, (least, _) in BOUNDS.items():
        if field in chosen and not chosen[field] >= least:
            raise ConfigurationError(f"--{field.replace('_', '-')} can't be {chosen[field]}: use {least:g} or more")
    if arguments["head_only"]:
        chosen["head_only"] = True
    return Order(name, arguments["base"], arguments["revision"], dataset, arguments["folder"], chosen)


if __name__ == "__main__":
    main()
